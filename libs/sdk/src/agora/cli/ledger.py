"""The commands about the account's ledger: save it, and recompute what was saved."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from agora.cli import show
from agora.cli.customer import AsJson, Key, Url, call
from agora.client import Client
from agora.ledger_check import LedgerCheck, NotALedger, check, check_since, summary

File = Annotated[Path, typer.Argument(help="The file.", metavar="FILE", dir_okay=False)]


def ledger(file: File, url: Url = None, key: Key = None) -> None:
    """Save the account's whole ledger: every posting with its entries and its hash, one on each line."""

    async def read_all(client: Client) -> int:
        count, cursor = 0, None
        with file.open("w", encoding="utf-8") as out:
            while True:
                page = await client.account.ledger(cursor=cursor, limit=200)
                for record in page.items:
                    out.write(_line(record))
                count += len(page.items)
                if (cursor := page.next_cursor) is None:
                    return count

    count = call(url, key, read_all)
    show.note(f"{count} postings in {file}; `agora verify-ledger {file}` recomputes them")


def verify_ledger(
    file: File,
    since: Annotated[
        Path | None, typer.Option(help="An older copy, which this one must continue.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute sums and hashes of a saved ledger; asks nobody. Exit code 1 when something does not agree."""
    found = _check(file)
    if since is not None:
        check_since(found, _check(since))
    if as_json:
        show.json_value(
            {
                "ok": found.ok, "account": found.account, "currency": found.currency,
                "postings": found.postings, "sealed": found.sealed, "unsealed": found.unsealed,
                "head": found.head, "ledgers": found.ledgers, "problems": found.problems,
            }
        )  # fmt: skip
    else:
        show.out.print(summary(found), markup=False)
    if not found.ok:
        raise typer.Exit(show.FAILED)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n"


def _check(file: Path) -> LedgerCheck:
    try:
        with file.open(encoding="utf-8") as lines:
            return check(lines)
    except (OSError, UnicodeDecodeError, NotALedger) as error:
        show.fail(f"{file} cannot be read: {error}", show.MISUSED)
