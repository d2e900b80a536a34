"""How tests of model calls make them: a run with room for them, and steps that call."""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

from agora import Message
from agora.models import tokens_at_most, worst_case_cost
from agora_execution.models.model import CallPlace
from agora_execution.models.service import ModelCalls
from agora_execution.runs.recording import Recorder
from agora_kit.database import Database
from sqlalchemy import text

from .asking import TENANT, new_id
from .test_recovery import accepted

MODEL = "openai:gpt-4o-mini"
PROMPT = [Message(role="user", content="hello")]
MAX_TOKENS = 100
WORST = worst_case_cost(MODEL, tokens_at_most(PROMPT), MAX_TOKENS).amount
"""What a call of `PROMPT` reserves, in micro-units."""
SPENT = 6
"""What a call costs by the usage that the fake vendor reports: 11 tokens in at 0.15, 7 out at 0.60 USD a million."""


class Step:
    """An attempt at a step that makes calls."""

    def __init__(self, run: str, *, tenant: str = TENANT, step: str | None = None, attempt: int = 1) -> None:
        self.run = run
        self.tenant = tenant
        self._step = step or f"{run}/{new_id('node')}/1"
        self._attempt = attempt
        self._made: Counter[str] = Counter()

    def place(self, digest: str) -> CallPlace:
        """Where its next call that asks this is made."""
        self._made[digest] += 1
        return CallPlace(
            run=self.run,
            tenant=self.tenant,
            step=self._step,
            attempt=self._attempt,
            digest=digest,
            number=self._made[digest],
        )

    def again(self) -> "Step":
        """The next attempt at the same step."""
        return Step(self.run, tenant=self.tenant, step=self._step, attempt=self._attempt + 1)


async def a_run(database: Database, model_cost: int, **changes: Any) -> str:
    """A running run whose hold has so many micro-units for models."""
    run = new_id("run")
    new = accepted(run, model_cost=model_cost, **changes)
    recorder = Recorder(database)
    await recorder.accept(new)
    await recorder.begin(run, new.tenant)
    return run


async def rows(database: Database, query: str, **values: Any) -> list[Any]:
    """What a query finds, across tenants."""
    async with database.system() as connection:
        return list((await connection.execute(text(query), values)).all())


async def execute(database: Database, statement: str, **values: Any) -> None:
    """Change something behind everybody's back."""
    async with database.system() as connection:
        await connection.execute(text(statement), values)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something, asked for or looked at, to become true."""
    while True:
        found = condition()
        if await found if inspect.isawaitable(found) else found:
            return
        await asyncio.sleep(0.01)


async def chat(calls: ModelCalls, run: str | Step, **other: Any) -> Any:
    """Ask a model within a run, from a step of its own or the given one."""
    step = run if isinstance(run, Step) else Step(run)
    asked: dict[str, Any] = {"caller": step, "max_tokens": MAX_TOKENS}
    return await calls.chat(PROMPT, **(asked | other))


async def money(database: Database, run: str) -> tuple[int, int]:
    """What a run has reserved for calls at hand, and spent."""
    query = "SELECT model_reserved, model_spent FROM runs WHERE id = :run"
    [row] = await rows(database, query, run=run)
    return row.model_reserved, row.model_spent
