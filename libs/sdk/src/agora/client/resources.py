"""Packages, deployments, files, account and keys: one class per noun of the API."""

import asyncio
import contextlib
import mimetypes
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from agora_contracts.catalog import PriceBook, Schemas

from agora.client.errors import ApiError
from agora.client.periods import Period
from agora.client.runs import Run, Runs
from agora.client.transport import new_key, problem_of, read, segment, unreachable
from agora.client.types import (
    ApiKey,
    Balance,
    Category,
    Deployment,
    File,
    Package,
    PackageDetail,
    PackageHealth,
    Page,
    PublicMoney,
    RunEstimate,
    RunState,
    Statement,
)

if TYPE_CHECKING:
    from agora.client.transport import Transport

UPLOAD_SECONDS = 600.0


class Packages:
    """`client.packages`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def list(
        self,
        *,
        category: str | None = None,
        search: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Package]:
        """A page of packages, by category and full text."""
        query = {"category": category, "search": search, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Package], "GET", "/packages", query=query)

    async def get(self, package: str, version: str | None = None) -> PackageDetail:
        """One package with its schemas; the newest version by default."""
        return await self._transport.call(
            PackageDetail, "GET", f"/packages/{segment(package)}", query={"version": version}
        )

    async def estimate(
        self, package: str, input: Mapping[str, Any], version: str | None = None
    ) -> RunEstimate:
        """What a run would cost at most. Nothing is set aside."""
        body = _without_none({"input": input, "version": version})
        return await self._transport.call(
            RunEstimate, "POST", f"/packages/{segment(package)}/estimate", body=body
        )

    async def prices(self, package: str, at: datetime | None = None) -> PriceBook:
        """Every price that a package has had and will have, and which a new customer takes at a moment (now by default)."""
        query = {"at": None if at is None else at.isoformat()}
        return await self._transport.call(
            PriceBook, "GET", f"/packages/{segment(package)}/prices", query=query
        )

    async def health(self, package: str) -> PackageHealth:
        """Whether a package can work now."""
        return await self._transport.call(PackageHealth, "GET", f"/packages/{segment(package)}/health")

    async def categories(self) -> Page[Category]:
        """The categories of the marketplace."""
        return await self._transport.call(Page[Category], "GET", "/categories")


class Deployments:
    """`client.deployments`: rentals of a package with a configuration."""

    def __init__(self, transport: "Transport", runs: Runs) -> None:
        self._transport = transport
        self._runs = runs

    async def start(
        self,
        package: str,
        *,
        basis: str,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        version: str | None = None,
        idempotency_key: str | None = None,
    ) -> Deployment:
        """Hire a package at the price of `basis`. It takes runs once its status is `active`."""
        body = _without_none(
            {"package": package, "basis": basis, "config": config or {}, "name": name, "version": version}
        )
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        return await self._transport.call(Deployment, "POST", "/deployments", body=body, headers=headers)

    async def get(self, deployment: str) -> Deployment:
        """One rental."""
        return await self._transport.call(Deployment, "GET", f"/deployments/{segment(deployment)}")

    async def list(
        self, *, status: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Deployment]:
        """A page of rentals, newest first."""
        query = {"status": status, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Deployment], "GET", "/deployments", query=query)

    async def change(self, deployment: str, config: Mapping[str, Any]) -> Deployment:
        """Replace the configuration. Until it is prepared, runs use the old one."""
        return await self._transport.call(
            Deployment, "PATCH", f"/deployments/{segment(deployment)}", body={"config": config}
        )

    async def end(self, deployment: str) -> Deployment:
        """End a rental. Running runs finish."""
        return await self._transport.call(Deployment, "DELETE", f"/deployments/{segment(deployment)}")

    async def estimate(self, deployment: str, input: Mapping[str, Any]) -> RunEstimate:
        """What a run on this rental would cost at most."""
        return await self._transport.call(
            RunEstimate, "POST", f"/deployments/{segment(deployment)}/estimate", body={"input": input}
        )

    async def execute(
        self,
        deployment: str,
        input: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        max_cost: PublicMoney | None = None,
    ) -> Run:
        """Start a run on a rental; see `Client.execute`."""
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        state = await self._transport.call(
            RunState,
            "POST",
            f"/deployments/{segment(deployment)}/execute",
            body=_without_none({"input": input, "max_cost": max_cost}),
            headers=headers,
        )
        return self._runs.handle(state)


class Files:
    """`client.files`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def upload(
        self, content: Path | bytes, *, name: str | None = None, content_type: str | None = None
    ) -> File:
        """Upload a file (at most 100 MB). It is sent once: a second copy would take up the quota.

        Args:
            content: A path, or the bytes themselves.
            name: The file's name; needed for bytes.
            content_type: Its media type; guessed from the name by default.

        Raises:
            ValueError: bytes without a name.
            OSError: the file cannot be read.
        """
        if name is None:
            if isinstance(content, bytes):
                raise ValueError("A file given as bytes needs a name.")
            name = content.name
        kind = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        http = self._transport.http
        with contextlib.ExitStack() as opened:
            source = content if isinstance(content, bytes) else opened.enter_context(_open(content))
            try:
                response = await http.post(
                    "/files",
                    files={"file": (name, source, kind)},
                    timeout=httpx.Timeout(10.0, read=UPLOAD_SECONDS),
                )
            except httpx.HTTPError as error:
                raise unreachable(http, error) from error
        return read(response, File)

    async def get(self, file: str) -> File:
        """A file's record."""
        return await self._transport.call(File, "GET", f"/files/{segment(file)}")

    async def list(self, *, cursor: str | None = None, limit: int = 50) -> Page[File]:
        """A page of files, newest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(Page[File], "GET", "/files", query=query)

    async def download(self, file: str, target: Path) -> Path:
        """Write a file's content to `target`, which appears only when it is whole.

        Raises:
            OSError: the target cannot be written.
        """
        http = self._transport.http
        handle, temporary = await asyncio.to_thread(
            tempfile.mkstemp, dir=target.parent, prefix=f".{target.name}-"
        )
        try:
            with os.fdopen(handle, "wb") as sink:
                async with http.stream("GET", f"/files/{segment(file)}/content") as response:
                    if not response.is_success:
                        await response.aread()
                        raise problem_of(response)
                    async for part in response.aiter_bytes():
                        sink.write(part)
            await asyncio.to_thread(os.replace, temporary, target)
        except httpx.HTTPError as error:
            raise unreachable(http, error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(os.unlink, temporary)
        return target

    async def delete(self, file: str) -> None:
        """Delete a file; deleting it again is no error."""
        try:
            await self._transport.call(type(None), "DELETE", f"/files/{segment(file)}")
        except ApiError as error:
            # Also where the answer to a first attempt was lost.
            if error.slug != "not_found":
                raise


class Account:
    """`client.account`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def balance(self) -> Balance:
        """Credit, what is held by open runs, and what is available."""
        return await self._transport.call(Balance, "GET", "/account")

    async def statement(self, *, cursor: str | None = None, limit: int = 100) -> Statement:
        """A page of postings, newest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(Statement, "GET", "/account/statement", query=query)

    async def periods(
        self, *, deployment: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Period]:
        """A page of months, newest first: what each meter has come to that is priced by the month or outside of runs."""
        query = {"deployment": deployment, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Period], "GET", "/account/periods", query=query)

    async def ledger(self, *, cursor: str | None = None, limit: int = 100) -> Page[dict[str, Any]]:
        """A page of the ledger, oldest first: each posting with its entries, as it is hashed, and its hash.

        `agora.ledger_check` recomputes a whole ledger.
        """
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(Page[dict[str, Any]], "GET", "/account/ledger", query=query)


class ApiKeys:
    """`client.api_keys`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def create(
        self, name: str, *, scopes: list[str] | None = None, expires_at: datetime | None = None
    ) -> ApiKey:
        """Make a key. `key` in the answer is shown this once; so the request is never sent twice."""
        body = _without_none({"name": name, "scopes": scopes, "expires_at": expires_at})
        return await self._transport.call(ApiKey, "POST", "/api-keys", body=body, idempotent=False)

    async def list(self) -> Page[ApiKey]:
        """The account's keys, without the keys themselves."""
        return await self._transport.call(Page[ApiKey], "GET", "/api-keys")

    async def revoke(self, key: str) -> None:
        """Revoke a key by its id. It stops working within a second."""
        await self._transport.call(type(None), "DELETE", f"/api-keys/{segment(key)}")


class Operator:
    """`client.operator`, with the operator's token as key."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def publish(self, manifest: Any, schemas: Schemas, *, first_party: bool = False) -> dict[str, Any]:
        """Publish a package version. The same contents again change nothing."""
        body = {"manifest": manifest, "schemas": schemas, "first_party": first_party}
        return await self._transport.call(dict[str, Any], "POST", "/operator/packages", body=body)

    async def refund(
        self, run: str, *, reason: str, reference: str, amount: PublicMoney | None = None
    ) -> dict[str, Any]:
        """Give back `amount` of a run's charge, or all that is left of it. The same reference does it once."""
        body = _without_none({"reason": reason, "reference": reference, "amount": amount})
        path = f"/operator/runs/{segment(run)}/refunds"
        return await self._transport.call(dict[str, Any], "POST", path, body=body)


def _open(path: Path) -> Any:
    return path.open("rb")


def _without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
