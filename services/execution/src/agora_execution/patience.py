"""Waiting out a part of the platform that is away: a step's work must not be lost by it, nor its attempts used up."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import stamina
from agora_contracts.problems import AgoraError
from agora_kit.database import is_transient

PATIENCE_SECONDS = 25.0


class PlatformAway(Exception):
    """A part of the platform did not answer for too long; the agent is not to blame."""


@dataclass(slots=True)
class Absence:
    """Whether something inside had to wait for the platform."""

    noticed: bool = False


_absence: ContextVar[Absence | None] = ContextVar("absence", default=None)


@contextmanager
def noticing() -> Iterator[Absence]:
    """Notice whether anything inside, also in tasks that are begun there, waits for the platform."""
    absence = Absence()
    token = _absence.set(absence)
    try:
        yield absence
    finally:
        _absence.reset(token)


def is_away(error: BaseException) -> bool:
    """Whether a part of the platform is away for now: a database, or a service that did not answer."""
    if isinstance(error, AgoraError):
        return error.slug in ("unavailable", "deadline_exceeded", "overloaded")
    return is_transient(error)


def is_absence(error: BaseException | None) -> bool:
    """Whether an attempt ended because a part of the platform was away, and not by the agent's doing."""
    return isinstance(error, PlatformAway) or (isinstance(error, AgoraError) and is_away(error))


async def patiently[**P, R](call: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
    """Make a call of the platform again for as long as a part of it is away, up to `PATIENCE_SECONDS`.

    Only for calls that may be made twice.

    Raises:
        PlatformAway: it was away for longer.
    """
    try:
        return await call(*args, **kwargs)
    except Exception as error:
        if not is_away(error):
            raise
    if (absence := _absence.get()) is not None:
        absence.noticed = True
    try:
        async for attempt in stamina.retry_context(
            on=is_away, attempts=None, timeout=PATIENCE_SECONDS, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                return await call(*args, **kwargs)
    except Exception as error:
        if is_away(error):
            raise PlatformAway(repr(error)) from error
        raise
    raise AssertionError("a retry ends by returning or raising")
