"""The composition of the gateway: the one place that wires."""

from pathlib import Path
from typing import Any

from agora_kit import telemetry
from agora_kit.objects import FolderObjects
from agora_kit.service import Service
from agora_kit.settings import load_settings

from agora_gateway.api import CACHED_PATHS, CATALOG_EVENTS, Parts, create_api
from agora_gateway.edge.gate import Gate
from agora_gateway.edge.page_cache import PageCache
from agora_gateway.edge.sockets import Sockets
from agora_gateway.edge.tracing import traced
from agora_gateway.files.service import Files
from agora_gateway.http_server import HttpServer
from agora_gateway.identity.key_cache import KeyCache
from agora_gateway.identity.service import Identity
from agora_gateway.runs.feeds import RunFeeds
from agora_gateway.settings import GatewaySettings


class Gateway(Service):
    """The gateway's process: the kit's service, and the HTTP server on its event loop."""

    server: HttpServer
    feeds: RunFeeds
    sockets: Sockets
    pages: PageCache


def build(settings: GatewaySettings | None = None) -> Gateway:
    """Wire the gateway; settings come from the environment unless given."""
    settings = settings or load_settings(GatewaySettings)
    service = Gateway("gateway", settings, package="agora_gateway")
    identity = Identity(service.database, service.broker)
    keys = KeyCache(identity.find_key)
    pages = service.pages = PageCache(CACHED_PATHS)
    feeds = service.feeds = RunFeeds(service.broker)
    sockets = service.sockets = Sockets(keys, feeds.closing)
    parts = Parts(
        broker=service.broker,
        report=service.health,
        identity=identity,
        keys=keys,
        pages=pages,
        feeds=feeds,
        sockets=sockets,
        files=Files(service.broker, FolderObjects(Path(settings.objects_folder))),
    )
    gate = Gate(create_api(parts), keys, settings.operator_token, pages)
    app = traced(gate) if telemetry.tracing_enabled() else gate
    service.server = HttpServer(app, settings.http_host, settings.http_port)

    service.health.add("http", service.server.check)

    async def forget_pages(_: Any) -> None:
        pages.clear()

    async def watch_catalog() -> None:
        await service.broker.client.subscribe(CATALOG_EVENTS, cb=forget_pages)

    async def stop_serving() -> None:
        await service.server.stop(settings.drain_seconds)

    service.on_start(watch_catalog)
    service.on_start(feeds.start)
    service.on_start(service.server.start)
    service.on_stop(stop_serving)
    service.on_stop(sockets.drain)
    service.on_stop(feeds.close)
    return service
