"""The playground's socket."""

from typing import Annotated, Any

from agora_kit.broker import Broker
from litestar import Router, WebSocket, websocket
from litestar.di import NamedDependency
from litestar.params import PathParameter

from agora_gateway.edge.sockets import Session, Sockets
from agora_gateway.playground.service import Talk
from agora_gateway.runs.feeds import RunFeeds

Target = Annotated[str, PathParameter(description="A package's slug, or a deployment's id.")]


@websocket("/{target:str}")
async def play(
    socket: WebSocket[Any, Any, Any],
    broker: NamedDependency[Broker],
    feeds: NamedDependency[RunFeeds],
    sockets: NamedDependency[Sockets],
    target: Target,
) -> None:
    """Talk to a package or a rental: `user_message` in, the answer out while it is written."""

    async def talk(session: Session) -> None:
        await Talk(broker, feeds, session, target).go_on()

    await sockets.serve(socket, "execute", talk)


router = Router("/playground", route_handlers=[play])
