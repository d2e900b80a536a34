"""What a step writes into memory, recorded with the step itself: in one transaction, once per logical step."""

from collections.abc import Sequence

import msgspec
from agora import Context
from agora.memory import writes_of
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text
from agora_execution.memory import store
from agora_execution.memory.model import StepWrite, Write
from agora_execution.runs.model import LockedRun, StepResult

_NULL_CHARACTER = "\0"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def written(context: Context) -> list[StepWrite]:
    """What an attempt at a step has written into its memory, as the database can hold it."""
    return [
        StepWrite(
            size_bytes=one.size_bytes,
            key=one.key,
            value=None if one.value is None else json_text(msgspec.Raw(one.value)),
            id=one.id,
            text=None if one.text is None else one.text.replace(_NULL_CHARACTER, _REPLACEMENT),
            payload=json_text(one.payload),
        )
        for one in writes_of(context.memory)
    ]


async def keep(connection: AsyncConnection, recorded: Sequence[tuple[StepResult, LockedRun, int]]) -> None:
    """Keep what steps have written that are recorded in this transaction, for their runs' own tenant and package."""
    writes = [
        Write(tenant=run.tenant, package=run.package, run=run.id, at=result.finished_at, written=one)
        for result, run, _ in recorded
        for one in result.memory
    ]
    if writes:
        await store.write(connection, writes)
