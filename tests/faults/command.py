"""What the fault tests' commands have in common: a platform of their own, progress, a verdict, one JSON line last."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder

from tests.faults.last_words import told_on_failure

START_SECONDS = 300.0

type Say = Callable[[str], None]


class SeededPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything; what is left to chance is drawn by dice with this `seed`."""

    seed: int = 1


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a fault test comes to; `figures` are printed, in their order."""

    passed: bool
    differences: list[str]
    figures: dict[str, Any]


def plan_of[P: SeededPlan](arguments: list[str], *, full: P, short: P) -> P:
    """The plan that the arguments choose: `--short`, `--seed N`."""
    plan = short if "--short" in arguments else full
    if "--seed" in arguments:
        return msgspec.structs.replace(plan, seed=int(arguments[arguments.index("--seed") + 1]))
    return plan


def carry_out(
    name: str,
    plan: SeededPlan,
    work: Callable[[Platform, Say], Awaitable[Verdict]],
    *,
    prepare: Callable[[Platform, Say], None] | None = None,
) -> int:
    """Run a fault test on a platform of its own; progress on standard error, one JSON line last.

    Args:
        name: the test's, as in `./dev faults NAME`.
        plan: printed with the figures by its seed.
        work: does the plan and judges.
        prepare: what is done on the ready platform before.

    Returns:
        the exit code.
    """
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)

    async def judged(platform: Platform) -> Verdict:
        return await work(platform, say)

    with own_folder() as folder, Platform(folder / "home", Ports.free(), say=lambda line: None) as platform:
        platform.wait_ready(START_SECONDS)
        if prepare is not None:
            prepare(platform, say)
        with told_on_failure(platform.logs_folder, say) as last_words:
            verdict = asyncio.run(judged(platform))
            for difference in verdict.differences:
                say(difference)
            last_words.passed = verdict.passed
    line = {"faults": name, "passed": verdict.passed, **verdict.figures, "seed": plan.seed}
    time.sleep(0.5)  # Temporal's client: its threads must let go before the interpreter ends.
    print(msgspec.json.encode(line).decode(), flush=True)
    return 0 if verdict.passed else 1
