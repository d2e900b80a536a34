"""`agora budgets`: list, make, change and delete what may be spent."""

from typing import Annotated

import typer

from agora.cli import show
from agora.cli.customer import AsJson, Key, Url, call
from agora.client.budgets import Budget
from agora.client.types import PublicMoney

app = typer.Typer(help="What may be spent: list, set, change and remove budgets.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The budget's id (bud_…).")]


@app.command("list")
def listed(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the budgets, each with what is spent, reserved and left in its window."""
    found = call(url, key, lambda client: client.budgets.list())
    _show(found.items, as_json)


@app.command("set")
def make(
    limit: Annotated[str, typer.Argument(help="The limit, such as 50.00.")],
    scope: Annotated[str, typer.Option(help="account, deployment, package, api_key or run.")] = "account",
    target: Annotated[str | None, typer.Option(help="Which deployment, package, key or run.")] = None,
    period: Annotated[str, typer.Option(help="day, month or total.")] = "month",
    soft: Annotated[bool, typer.Option("--soft", help="Only tell, refuse nothing.")] = False,
    name: Annotated[str, typer.Option(help="A name of your own.")] = "",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key makes it once.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a budget: what is spent from now on counts."""
    made = call(
        url,
        key,
        lambda client: client.budgets.create(
            scope=scope,
            target=target,
            period=period,
            limit=limit,
            kind="soft" if soft else "hard",
            name=name,
            idempotency_key=idempotency_key,
        ),
    )
    _show([made], as_json)


@app.command("change")
def change(
    budget: Id,
    limit: Annotated[str, typer.Argument(help="The new limit, such as 75.00.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Change a budget's limit from now on."""
    _show([call(url, key, lambda client: client.budgets.change(budget, limit=limit))], as_json)


@app.command("remove")
def remove(budget: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Remove a budget: nothing is limited by it any more."""
    removed = call(url, key, lambda client: client.budgets.delete(budget))
    if as_json:
        show.json_value(removed)
    else:
        show.out.print(f"{removed.id} removed")


def _show(budgets: list[Budget], as_json: bool) -> None:
    if as_json:
        show.json_value(budgets)
        return
    show.table(
        ("budget", "for", "period", "kind", "limit", "spent", "reserved", "left"),
        [
            (
                one.id,
                " ".join((one.scope, one.target or "")).strip(),
                one.period,
                one.kind,
                *map(_money, (one.limit, one.spent, one.reserved, one.left)),
            )
            for one in budgets
        ],
    )


def _money(money: PublicMoney) -> str:
    return f"{money.amount} {money.currency}"
