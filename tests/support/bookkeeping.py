"""What a tenant has stored and owes, compared before and after."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from tests.support.answers import micro, pages


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a tenant that a refused request must not touch. Amounts are micro-units."""

    runs: list[str]
    deployments: list[tuple[str, str, int]]
    files: list[str]
    postings: list[str]
    credit: int
    held: int
    ledger: int


async def books(client: httpx.AsyncClient) -> Books:
    """Read the tenant's lists and its account."""
    statement = (await client.get("/account/statement", params={"limit": 1})).raise_for_status().json()
    balance = statement["balance"]
    return Books(
        runs=[run["id"] for run in await pages(client, "/runs", limit=200)],
        deployments=[
            (one["id"], one["status"], one["config_revision"]) for one in await pages(client, "/deployments")
        ],
        files=[file["id"] for file in await pages(client, "/files", limit=200)],
        postings=[line["posting"] for line in await pages(client, "/account/statement", limit=200)],
        credit=micro(balance["credit"]),
        held=micro(balance["held"]),
        ledger=micro(statement["entries_sum"]),
    )


@asynccontextmanager
async def nothing_changes(client: httpx.AsyncClient) -> AsyncIterator[Books]:
    """Check that what happens inside stores and charges nothing."""
    before = await books(client)
    yield before
    assert before == await books(client)


async def settled(client: httpx.AsyncClient, run: str, *, seconds: int = 60) -> dict[str, Any]:
    """A run once it has ended and is charged."""
    answer = await client.get(f"/runs/{run}", headers={"Prefer": f"wait={seconds}"}, timeout=seconds + 10)
    found: dict[str, Any] = answer.raise_for_status().json()
    assert found["cost"] is not None, f"not settled within {seconds} s: {found}"
    return found
