"""How long whoever asked still waits: carried along with every request, so that no work is begun for nobody.

A request names the seconds that its asker has left; what the answering side asks in turn may take no longer. Seconds and
not a time of day travel, as clocks differ; what the way takes is left out of the account, hence the margin.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

from agora_contracts.problems import AgoraError

HEADER = "Agora-Seconds-Left"
MARGIN_SECONDS = 0.25
"""How much earlier than its asker whoever answers gives up, so that the refusal still arrives."""

_end: ContextVar[float | None] = ContextVar("agora_deadline", default=None)


def seconds_left() -> float | None:
    """What the asker of the request at hand leaves for it, less the margin; None when nobody set a limit."""
    end = _end.get()
    return None if end is None else end - time.monotonic() - MARGIN_SECONDS


def require_time_left() -> None:
    """Go on only while the asker waits: to be called before what cannot be taken back.

    Raises:
        AgoraError: `unavailable`, when the answer would come too late.
    """
    left = seconds_left()
    if left is not None and left <= 0:
        raise AgoraError(
            "unavailable", "a part of the platform took too long; try again", retry_after_seconds=2
        )


@contextmanager
def answering(headers: Mapping[str, str] | None) -> Iterator[None]:
    """Answer a request within what its headers say that its asker has left."""
    token = _end.set(_end_of(headers))
    try:
        yield
    finally:
        _end.reset(token)


def detached() -> Context:
    """The context at hand without its deadline: for work that others wait for as well."""
    context = copy_context()
    context.run(_end.set, None)
    return context


def _end_of(headers: Mapping[str, str] | None) -> float | None:
    try:
        return time.monotonic() + float((headers or {})[HEADER])
    except (KeyError, ValueError):
        return None
