"""Whether a process can work: each dependency has a check, asked over NATS or a small HTTP port."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from agora_contracts.platform import GetHealth, Health

type Check = Callable[[], Awaitable[None]]
"""Raises when the dependency does not answer."""

_CHECK_SECONDS = 2.0


class HealthReport:
    """Collects a process' checks and answers for them."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.status: str = "starting"
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Depend on something: `check` raises when it does not answer."""
        self._checks[name] = check

    async def report(self, _: GetHealth | None = None) -> Health:
        """Run every check, each within two seconds."""
        names = list(self._checks)
        results = await asyncio.gather(
            *(asyncio.wait_for(self._checks[name](), _CHECK_SECONDS) for name in names),
            return_exceptions=True,
        )
        checks = {
            name: "ok" if result is None else (str(result) or repr(result))[:200]
            for name, result in zip(names, results, strict=True)
        }
        status: Any = self.status
        if status == "ready" and any(value != "ok" for value in checks.values()):
            status = "degraded"
        return Health(service=self.service, status=status, checks=checks)

    async def asgi(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """A tiny ASGI app for probes: /live is 200 while the process runs, /ready 200 or 503."""
        if scope["type"] != "http":
            return
        report = await self.report()
        healthy = scope["path"].endswith("/live") or report.status == "ready"
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200 if healthy else 503, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(report)})
