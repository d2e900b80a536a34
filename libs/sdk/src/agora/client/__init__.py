"""The customer's side of the API: an async client with typed answers.

async with agora.Client("http://127.0.0.1:8000", key) as client:
    run = await client.execute("echo", {"text": "hi"})
    result = await run.wait()
"""

import os
import ssl
from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import Any, Self

import httpx

from agora.client.approvals import Approvals
from agora.client.budgets import Budgets
from agora.client.conversations import Conversations
from agora.client.errors import ApiError, ConnectionFailed
from agora.client.memory import Memory
from agora.client.resources import Account, ApiKeys, Deployments, Files, Operator, Packages
from agora.client.runs import Run, Runs
from agora.client.schedules import Schedules
from agora.client.swarms import Swarms
from agora.client.transport import Transport, new_key, segment
from agora.client.types import PublicMoney, RunState
from agora.client.usage import Usage, UsageEvent

__all__ = ["ApiError", "Client", "ConnectionFailed", "Run", "RunState", "UsageEvent"]

DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """A connection to the platform, to be used as an async context manager.

    Requests that are safe to repeat are repeated when the connection or the platform fails. A run or a rental
    is started under an idempotency key that is made before the first attempt, so it is started once.

    Args:
        url: The platform's address, with or without /api/v1; AGORA_URL, or this machine, by default.
        key: An API key; AGORA_API_KEY by default.

    Every call raises `ApiError` where the platform answers with a problem, and `ConnectionFailed` where it
    does not answer.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        given = url or os.environ.get("AGORA_URL") or DEFAULT_URL
        address = given.rstrip("/").removesuffix("/api/v1")
        secret = (key or os.environ.get("AGORA_API_KEY") or "").strip()
        if not (secret.isascii() and secret.isprintable()):
            raise ConnectionFailed("The API key holds characters that no key has; copy it once more.")
        self._http = httpx.AsyncClient(
            base_url=f"{address}/api/v1",
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            follow_redirects=False,
            verify=_certificates(),
        )
        self._transport = Transport(self._http)
        self.runs = Runs(self._transport)
        self.packages = Packages(self._transport)
        self.deployments = Deployments(self._transport, self.runs)
        self.files = Files(self._transport)
        self.account = Account(self._transport)
        self.budgets = Budgets(self._transport)
        self.approvals = Approvals(self._transport)
        self.conversations = Conversations(self._transport)
        self.memory = Memory(self._transport)
        self.schedules = Schedules(self._transport)
        self.usage = Usage(self._transport, self.files)
        self.swarms = Swarms(self._transport)
        self.api_keys = ApiKeys(self._transport)
        self.operator = Operator(self._transport)

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def execute(
        self,
        target: str,
        input: Mapping[str, Any],
        *,
        version: str | None = None,
        idempotency_key: str | None = None,
        max_cost: PublicMoney | None = None,
    ) -> Run:
        """Start a run of a package, or on a rental (`dep_…`).

        Args:
            target: A package's id, or a deployment's.
            input: What the package's input schema asks for.
            version: A package's version; the newest by default.
            idempotency_key: The same key again gives the same run; made anew by default.
            max_cost: The run's own hard budget: it is refused when it is quoted at more, and never charged more.
        """
        if target.startswith("dep_"):
            return await self.deployments.execute(
                target, input, idempotency_key=idempotency_key, max_cost=max_cost
            )
        body: dict[str, Any] = {"input": input}
        if max_cost is not None:
            body["max_cost"] = max_cost
        if version is not None:
            body["version"] = version
        state = await self._transport.call(
            RunState,
            "POST",
            f"/packages/{segment(target)}/execute",
            body=body,
            headers={"Idempotency-Key": idempotency_key or new_key()},
        )
        return self.runs.handle(state)


@cache
def _certificates() -> ssl.SSLContext:
    """Whose certificates are trusted; to load them takes 20 ms, so that the clients of a process share them."""
    return httpx.create_ssl_context()
