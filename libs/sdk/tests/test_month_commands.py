"""Price books, months and called runs in the client and in the command, against a server that answers as scripted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import agora
import pytest
from agora.cli import app, show
from agora_contracts.money import PublicMoney
from typer.testing import CliRunner

from .scripted_platform import MONEY, Answer, Platform

ENTRY = {
    "price_version": "price_2", "number": 2, "version": None, "charges": {}, "notice_days": 30,
    "prices": [{"basis": "task", "unit_price": "0.02", "meter": "tasks"}],
    "published_at": "2026-01-01T00:00:00Z", "effective_at": "2026-02-01T00:00:00Z",
}  # fmt: skip
BOOK = {
    "package": "echo", "in_force": "price_1",
    "items": [ENTRY, ENTRY | {"price_version": "price_1", "number": 1, "version": "1.0.0"}],
}  # fmt: skip
MONTH = {
    "id": "per_1", "package": "echo", "deployment": "dep_1", "basis": "gb", "meter": "gb", "price_version": "price_1",
    "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00Z", "runs": 1, "by_runs": "2.5",
    "reported": "10", "lines": [], "amount": MONEY, "by_runs_amount": MONEY, "postings": [], "from_the_future": 1,
}  # fmt: skip


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")
    monkeypatch.setattr(show.out, "width", 200)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_price_book_is_shown(platform: Platform, command: Callable[..., Any]) -> None:
    """
    Each entry with its prices and since when, the one in force marked; `--at` asks for another moment.
    """
    platform.on("GET /packages/echo/prices", Answer(200, BOOK))

    shown = command("prices", "echo", "--at", "2026-03-01").stdout
    as_json = command("prices", "echo", "--json").stdout

    assert "at=2026-03-01" in platform.requests[0].path
    marked = [line for line in shown.splitlines() if ">" in line]
    assert 1 == len(marked) and "1.0.0" in marked[0]
    assert "all before" in shown and "0.02/task" in shown
    assert "price_1" == json.loads(as_json)["in_force"]


def test_months_are_shown(platform: Platform, command: Callable[..., Any]) -> None:
    """
    What each month has come to, of one deployment if asked so.
    """
    platform.on("GET /account/periods", Answer(200, {"items": [MONTH], "next_cursor": None}))

    shown = command("months", "--deployment", "dep_1").stdout

    assert "deployment=dep_1" in platform.requests[-1].path
    assert all(word in shown for word in ("2026-01", "2.5", "10", "0.500000 USD"))


async def test_the_client_reads_books_and_months(platform: Platform, client: agora.Client) -> None:
    """
    Price books and months come typed.
    """
    platform.on("GET /packages/echo/prices", Answer(200, BOOK))
    platform.on("GET /account/periods", Answer(200, {"items": [MONTH], "next_cursor": None}))
    async with client:
        book = await client.packages.prices("echo", datetime(2026, 3, 1, tzinfo=UTC))
        page = await client.account.periods()

    assert [2, 1] == [one.number for one in book.items]
    assert PublicMoney(amount="0.500000") == page.items[0].amount


def test_a_receipt_shows_called_runs(platform: Platform, command: Callable[..., Any]) -> None:
    """
    What the runs that a run has called were charged by themselves is told beside its own charge.
    """
    call = {
        "run": "run_2",
        "package": "helper",
        "state": "settled",
        "held": MONEY,
        "charged": MONEY,
        "refunded": MONEY,
    }
    receipt = {
        "run": "run_1", "state": "settled", "basis": "task", "quoted": MONEY, "held": MONEY, "charged": MONEY,
        "released": MONEY, "lines": [], "calls": [call], "calls_charged": MONEY,
    }  # fmt: skip
    platform.on("GET /runs/run_1/receipt", Answer(200, receipt))

    shown = command("receipt", "run_1").stdout

    assert "were charged 0.500000 USD by themselves" in shown
    assert "run_2" in shown and "helper" in shown
