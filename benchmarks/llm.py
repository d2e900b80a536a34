"""Model calls a second through the LLM gateway, against the same langchain model alone: `./dev bench llm [--litellm]`.

- *ours*: 32 callers at once, each a step of a run of its own that asks for the cheapest of three vendors' fast models:
  the model is chosen by price, its worst case reserved inside the run's hold, asked through langchain, settled with the
  vendor's usage, the reply kept for a retry, and the usage recorded with the step. On a real PostgreSQL with the
  settings of `./dev up`, so with its durability.
- *theirs*: the same 32 callers with the same model of langchain's, made once, by `ainvoke`.

Both ask the same fake of the vendors' wire, a process of its own. This process has one core; the fake and PostgreSQL
have the others. With `--litellm` the same calls also go through LiteLLM's proxy, installed into the cache folder: on the
same core as this process has otherwise, with the fake on the others; it only relays, with neither keys nor caps. Its
figures stand beside, with how many times as many calls ours does. One JSON line last.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import psutil
import uvloop
from agora import Context, Message
from agora.models.clients import Clients
from agora.permissions import NoModels
from agora_execution.models.port import RunModels
from agora_execution.models.service import ModelCalls
from agora_execution.runs.model import NewRun
from agora_execution.runs.recording import Recorder
from agora_kit.database import Database, migrate
from agora_kit.provision import DatabasePasswords, provision
from agora_local.parts import Postgres
from agora_local.ports import free_port
from agora_local.testing import own_folder
from sqlalchemy import text

from benchmarks.pairs import interleave

CALLERS = 32
CALLS = 1_500
LITELLM_CALLS = 400
MAX_TOKENS = 200
TENANT = "ten_benchmark"
MODEL = "openai:gpt-4o-mini"
PROMPT = [
    Message(role="system", content="You answer in one short sentence."),
    Message(role="user", content="What is the capital of France? " * 10),
]
LITELLM = "litellm[proxy]"
_START_SECONDS = 120.0


async def rate(count: int, call: Callable[[int], Awaitable[Any]]) -> float:
    """Calls a second of so many, by all callers at once."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return count / (time.perf_counter() - started)


class OurCalls:
    """Calls of steps through the gateway."""

    def __init__(self, database: Database, environment: dict[str, str]) -> None:
        self._database = database
        self._calls = ModelCalls(database, environment)
        self._runs: list[str] = []
        self._steps = 0

    async def prepare(self) -> None:
        """Runs with plenty of room in their holds."""
        recorder = Recorder(self._database)
        for number in range(CALLERS):
            run = f"run_{number:032x}"
            await recorder.accept(_run(run))
            await recorder.begin(run, TENANT)
            self._runs.append(run)

    async def call(self, number: int) -> None:
        """One call of a step of its own."""
        self._steps += 1
        run = self._runs[number % CALLERS]
        step = f"{run}/answer/{self._steps}"
        access = await self._calls.access(TENANT)
        models = RunModels(self._calls, run, TENANT, step, 1, access=access)
        context = Context(
            run_id=run, step_id=step, attempt=1, config=None, prepared=None, files=cast(Any, None),
            knowledge=cast(Any, None), models=NoModels(),
        )  # fmt: skip
        models.report_to(context)
        reply = await models.chat(PROMPT, policy="cheapest", max_tokens=MAX_TOKENS)
        if not (reply.text and reply.reconciled and len(context.recorded) == 3):
            raise RuntimeError(f"no such answer was expected: {reply}")

    async def check(self, calls: int) -> None:
        """Every call is settled, and what the runs spent is what their calls cost.

        Raises:
            RuntimeError: it is not.
        """
        async with self._database.system() as connection:
            of_runs = await connection.execute(text("SELECT sum(model_spent), sum(model_reserved) FROM runs"))
            spent, reserved = of_runs.one()
            of_calls = await connection.execute(
                text("SELECT count(*), sum(cost) FROM model_calls WHERE reconciled AND failure IS NULL")
            )
            count, cost = of_calls.one()
        if (count, spent, reserved) != (calls, cost, 0):
            raise RuntimeError(
                f"{count} of {calls} calls are settled; {spent} spent, {cost} cost, {reserved} reserved"
            )


def _run(run: str) -> NewRun:
    return NewRun(
        id=run, tenant=TENANT, account="acc_benchmark", fingerprint="f", requested_by="key", input={},
        package="echo", version="1.0.0", price_version="price", basis="task", quoted=1, currency="USD", hold_epoch=1,
        timeout_seconds=3600, model_cost=10**15, accepted_at=datetime.now(UTC),
    )  # fmt: skip


@asynccontextmanager
async def wire_process() -> AsyncIterator[str]:
    """The fake of the vendors' wire as a process of its own; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.llm_wire", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


def share_cores() -> list[int]:
    """One core for this process, the others for those it has started. Returns its own; empty where it has only one."""
    cores = sorted(psutil.Process().cpu_affinity() or [])
    if len(cores) < 2:
        return []
    for child in psutil.Process().children(recursive=True):
        child.cpu_affinity(cores[1:])
    psutil.Process().cpu_affinity(cores[:1])
    return cores[:1]


# --- LiteLLM -------------------------------------------------------------------------------------


def litellm_command(cache: Path) -> Path:
    """LiteLLM's proxy in an environment of its own, installed if need be."""
    folder = cache / "litellm"
    if not (folder / "bin" / "litellm").exists():
        say(f"installing {LITELLM} into {folder}")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", LITELLM]
        subprocess.run(pip, check=True)
    return folder / "bin" / "litellm"


async def litellm_rate(command: Path, folder: Path, wire: str, core: list[int]) -> list[float]:
    """Calls a second through LiteLLM's proxy, which has the core to itself."""
    config = folder / "litellm.yaml"
    parameters = f"{{model: openai/gpt-4o-mini, api_base: '{wire}/openai', api_key: key}}"
    config.write_text(f"model_list:\n  - model_name: m\n    litellm_params: {parameters}\n")
    port, key = free_port(), f"sk-{secrets.token_hex(16)}"
    with (folder / "litellm.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(command), "--config", str(config), "--port", str(port), "--host", "127.0.0.1",
            stdout=log, stderr=log,
            env={
                "PATH": os.environ["PATH"], "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                # It does not start without one.
                "LITELLM_MASTER_KEY": key,
            },
        )  # fmt: skip
    if core:
        psutil.Process(process.pid).cpu_affinity(core)
        others = [one for one in range(psutil.cpu_count() or 1) if one not in core]
        psutil.Process().cpu_affinity(others)
    limits = httpx.Limits(max_connections=CALLERS)
    body = {
        "model": "m", "max_tokens": MAX_TOKENS, "temperature": 0,
        "messages": [{"role": one.role, "content": one.content} for one in PROMPT],
    }  # fmt: skip
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            limits=limits,
            timeout=60,
            trust_env=False,
        ) as client:

            async def call(_: int) -> None:
                (await client.post("/v1/chat/completions", json=body)).raise_for_status()

            async with asyncio.timeout(_START_SECONDS):
                while True:
                    try:
                        await call(0)
                        break
                    except httpx.HTTPError:
                        if process.returncode is not None:
                            words = (folder / "litellm.log").read_text(errors="replace")[-2000:]
                            raise RuntimeError(f"LiteLLM ended before it answered:\n{words}") from None
                        await asyncio.sleep(0.5)
            await rate(LITELLM_CALLS // 4, call)
            return [await rate(LITELLM_CALLS, call) for _ in range(3)]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if core:
            psutil.Process().cpu_affinity(core)


# --- the comparison ------------------------------------------------------------------------------


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


async def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the pairs, check what was spent, and measure LiteLLM where it is asked for."""
    command = litellm_command(options.cache) if options.litellm else None
    async with wire_process() as wire:
        with Postgres(folder / "postgres", free_port()) as postgres:
            urls = await provision(
                postgres.url, "execution", DatabasePasswords(app="app", system="system", owner="owner")
            )
            await asyncio.to_thread(migrate, urls.owner, "agora_execution")
            core = share_cores()
            database = Database(urls.app, urls.system)
            try:
                line = await _compare(database, wire, options)
            finally:
                await database.close()
        if command is not None:
            rates = await litellm_rate(command, folder, wire, core)
            middle = statistics.median(rates)
            line["litellm_per_second"] = round(middle, 1)
            line["times_litellm"] = round(line["ours_per_second"] / middle, 2)
        return line | {"cores": len(core) or psutil.cpu_count()}


async def _compare(database: Database, wire: str, options: argparse.Namespace) -> dict[str, Any]:
    environment: dict[str, str] = {}
    for vendor in ("OPENAI", "ANTHROPIC", "GOOGLE"):
        # The cheapest by the prices that come with the platform is OpenAI's here: Google's is named dearer.
        environment |= {f"{vendor}_API_KEY": "key", f"{vendor}_BASE_URL": f"{wire}/{vendor.lower()}"}
    environment["AGORA_MODEL_FAST"] = (
        "anthropic:claude-haiku-4-5, openai:gpt-4o-mini, google:gemini-2.5-flash"
    )
    ours = OurCalls(database, environment)
    await ours.prepare()
    alone: Any = await Clients().chat(
        MODEL, max_tokens=MAX_TOKENS, timeout_seconds=60, environment=environment
    )
    asked = [("system", PROMPT[0].content), ("human", PROMPT[1].content)]

    async def theirs(_: int) -> None:
        answer = await alone.ainvoke(asked)
        if not answer.text or not answer.usage_metadata:
            raise RuntimeError(f"no such answer was expected: {answer}")

    warm_up = options.calls // 5
    await rate(warm_up, ours.call)
    await rate(warm_up, theirs)
    process = psutil.Process()
    cpu: dict[str, list[float]] = {"ours": [], "theirs": []}

    async def measured(side: str, call: Callable[[int], Awaitable[Any]]) -> float:
        before = process.cpu_times()
        found = await rate(options.calls, call)
        after = process.cpu_times()
        cpu[side].append((after.user + after.system - before.user - before.system) / options.calls)
        return found

    pairs = await interleave(
        lambda: measured("ours", ours.call),
        lambda: measured("theirs", theirs),
        pairs=options.pairs,
        say=say,
    )
    await ours.check(warm_up + options.pairs * options.calls)
    return pairs.line(
        "llm",
        callers=CALLERS,
        calls=options.calls,
        cpu_ms_per_call={side: round(statistics.median(used) * 1000, 2) for side, used in cpu.items()},
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench llm", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--calls", type=int, default=CALLS, help="calls of a side and pair")
    parser.add_argument("--litellm", action="store_true", help="also measure LiteLLM's proxy")
    cache = os.environ.get("AGORA_CACHE") or Path.home() / ".cache" / "agora"
    parser.add_argument("--cache", type=Path, default=Path(cache), help="where LiteLLM is installed")
    options = parser.parse_args(arguments)
    with own_folder() as folder:
        line = uvloop.run(compare(folder, options))
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
