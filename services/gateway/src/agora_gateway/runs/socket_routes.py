"""Following a run over a WebSocket: the same events as server-sent ones, as frames."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from agora_contracts.problems import AgoraError, Problem, from_problem
from agora_kit.broker import Broker
from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.routing import RunId, existing
from agora_gateway.edge.sockets import Session, Sockets, run_until_first_ends
from agora_gateway.runs.feeds import RunFeeds
from agora_gateway.runs.stream import RunStream, to_frame


@websocket("/{run:str}/events")
async def follow_run_socket(
    socket: WebSocket[Any, Any, Any],
    broker: NamedDependency[Broker],
    feeds: NamedDependency[RunFeeds],
    sockets: NamedDependency[Sockets],
    run: RunId,
    after: Annotated[str | None, QueryParameter(name="after")] = None,
) -> None:
    """Frames `{type, id, data}` from the beginning, or from after `?after=N`, until the run is charged."""

    async def follow(session: Session) -> None:
        stream = RunStream(
            broker,
            feeds,
            tenant=session.tenant.id,
            run=existing("run", run),
            after=_number(after),
            permit=session.permit,
        )
        first = await stream.begin()

        async def tell() -> None:
            async with aclosing(stream.events(first)) as events:
                async for event in events:
                    if event.type == "problem":
                        raise from_problem(msgspec.json.decode(event.data, type=Problem))
                    await session.send(to_frame(event))

        await run_until_first_ends(tell(), _refuse_all(session.frames(), session))

    await sockets.serve(socket, "read", follow)


async def _refuse_all(frames: AsyncIterator[bytes], session: Session) -> None:
    async for _ in frames:
        await session.refuse(
            AgoraError("malformed_request", "this socket tells a run's events and takes no frames")
        )


def _number(after: str | None) -> int:
    if after is None:
        return 0
    if not after.isdecimal() or len(after) > 10:
        raise AgoraError("invalid_input", "the parameter `after` must be the id of an event")
    return int(after)
