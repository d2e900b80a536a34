"""Budgets in the client and in the command, against a server that answers as scripted."""

import json
from collections.abc import Callable
from typing import Any

import agora
import pytest
from agora.cli import app, show
from agora_contracts.money import PublicMoney
from typer.testing import CliRunner

from .scripted_platform import MONEY, Answer, Platform, a_problem, a_run

BUDGET = {
    "id": "bud_1", "name": "", "scope": "package", "target": "echo", "period": "month", "kind": "hard",
    "limit": {"amount": "50.000000", "currency": "USD"}, "spent": MONEY, "reserved": MONEY, "left": MONEY,
    "thresholds": [80, 100], "window_start": "2026-01-01T00:00:00Z", "window_end": None,
    "created_at": "2026-01-01T00:00:00Z", "deleted_at": None, "from_the_future": 1,
}  # fmt: skip


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")
    monkeypatch.setattr(show.out, "width", 200)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def sent(platform: Platform) -> dict[str, Any]:
    """The body of the last request."""
    body: dict[str, Any] = json.loads(platform.requests[-1].body)
    return body


def test_budgets_are_kept_from_the_command_line(platform: Platform, command: Callable[..., Any]) -> None:
    """
    set, list, change and remove send what the API asks for, and print tables or JSON.
    """
    platform.on("POST /budgets", Answer(201, BUDGET))
    platform.on("GET /budgets", Answer(200, {"items": [BUDGET]}))
    platform.on("PATCH /budgets/bud_1", Answer(200, BUDGET))
    platform.on("DELETE /budgets/bud_1", Answer(200, BUDGET))

    made = command("budgets", "set", "50.00", "--scope", "package", "--target", "echo", "--soft")
    body = sent(platform)
    assert ("package", "echo", "month", "soft", "50.00") == (
        body["scope"], body["target"], body["period"], body["kind"], body["limit"]["amount"],
    )  # fmt: skip
    assert platform.requests[-1].headers["idempotency-key"]
    listed = command("budgets", "list")
    assert all("package echo" in one.stdout and "50.000000 USD" in one.stdout for one in (made, listed))
    command("budgets", "change", "bud_1", "75")
    assert {"limit": {"amount": "75", "currency": "USD"}} == sent(platform)
    assert "bud_1 removed" in command("budgets", "remove", "bud_1").stdout
    assert "bud_1" == json.loads(command("budgets", "list", "--json").stdout)[0]["id"]


def test_a_run_takes_its_own_limit(platform: Platform, command: Callable[..., Any]) -> None:
    """
    --max-cost goes with the run, of a package or a rental; what is refused for it is told as the API says it.
    """
    platform.on("POST /packages/echo/execute", Answer(202, a_run()), a_problem(402, "budget_exhausted"))
    platform.on("POST /deployments/dep_1/execute", Answer(202, a_run()))

    for target in ("echo", "dep_1"):
        assert 0 == command("execute", target, "--max-cost", "0.10").exit_code
        assert {"amount": "0.10", "currency": "USD"} == sent(platform)["max_cost"]
    refused = command("execute", "echo", "--max-cost", "0.10")

    assert 1 == refused.exit_code
    assert "why" in refused.stderr


async def test_the_client_reads_budgets_and_grants(platform: Platform, client: agora.Client) -> None:
    """
    Budgets and grants come typed; a change names only what changes.
    """
    grant = {
        "id": "promo_1", "amount": MONEY, "remaining": MONEY, "spent": MONEY, "expired": MONEY,
        "state": "active", "reference": "r", "reason": "Welcome", "granted_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    platform.on("GET /budgets/bud_1", Answer(200, BUDGET))
    platform.on("PATCH /budgets/bud_1", Answer(200, BUDGET))
    platform.on("GET /account/promotions", Answer(200, {"items": [grant], "next_cursor": None}))
    async with client:
        budget = await client.budgets.get("bud_1")
        await client.budgets.change("bud_1", kind="soft")
        change = sent(platform)
        page = await client.budgets.promotions()

    assert (PublicMoney(amount="50.000000"), [80, 100]) == (budget.limit, budget.thresholds)
    assert {"kind": "soft"} == change
    assert "Welcome" == page.items[0].reason
