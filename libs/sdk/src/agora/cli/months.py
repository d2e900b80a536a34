"""`agora prices` and `agora months`: what a package costs and will cost, and what months have come to."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from agora_contracts.money import PublicMoney

from agora.cli import show
from agora.cli.customer import AsJson, Key, Url, call
from agora.cli.prices import price_text


def prices(
    package: Annotated[str, typer.Argument(help="A package's id.")],
    at: Annotated[
        datetime | None,
        typer.Option(
            help="What a new customer takes then, in UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"]
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show a package's price book, newest first; the entry that a new customer takes is marked."""
    moment = None if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    book = call(url, key, lambda client: client.packages.prices(package, moment))
    if as_json:
        show.json_value(book)
        return
    show.table(
        ("", "in effect from", "with version", "prices", "notice"),
        [
            (
                ">" if one.price_version == book.in_force else "",
                f"{one.effective_at:%Y-%m-%d %H:%M}",
                one.version or "all before",
                "; ".join(price_text(price) for price in one.prices),
                f"{one.notice_days} days",
            )
            for one in book.items
        ],
    )


def months(
    deployment: Annotated[str | None, typer.Option(help="Only those of this deployment.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what months have come to that are priced as a whole, used outside of runs, or rented."""
    page = call(url, key, lambda client: client.account.periods(deployment=deployment, limit=limit))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("month", "package", "meter", "by runs", "reported", "amount", "of it by runs"),
        [
            (
                f"{one.period_start:%Y-%m}",
                one.package,
                one.meter,
                f"{one.by_runs:f}",
                f"{one.reported:f}",
                _money(one.amount),
                _money(one.by_runs_amount),
            )
            for one in page.items
        ],
    )


def _money(money: PublicMoney) -> str:
    return f"{money.amount} {money.currency}"
