"""Audit billing's books: `python -m agora_billing.verify [--account ID] [--json]`.

Recomputes every balance, charge and hash from the rows, in one snapshot, and names what does not agree; the exit
code is 0 when all does, 1 when not, 2 when there is no such account. Prints a summary, or with --json the report as one line; progress goes to the terminal's
error output. Needs AGORA_DATABASE_SYSTEM_URL. Reads only; may run beside the service.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec
from agora_contracts.money import format_amount
from agora_kit.database import Database
from agora_kit.settings import load_settings

from agora_billing.audit.model import Progress, Report
from agora_billing.audit.service import verify

_TELL_SECONDS = 2.0
_COMMAND_SECONDS = 3600.0
"""Rules over big books take longer than what a service would wait for."""


class VerifySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit needs: the system role's database URL."""

    database_system_url: str


class _Teller:
    """Prints progress now and then, so that small books print none."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._last >= _TELL_SECONDS:
            self._last = time.monotonic()
            print(f"{progress.step}: {progress.done} of {progress.total}", file=sys.stderr)


async def audit(system_url: str, account: str | None = None) -> Report:
    """Open billing's database, audit it, close it."""
    database = Database(system_url, system_url, pool_size=1, command_seconds=_COMMAND_SECONDS)
    try:
        return await verify(database, account, _Teller())
    finally:
        await database.close()


def summary(report: Report) -> str:
    """The report for a person: figures that agree, or each fault by rule and subject."""
    lines = [
        f"{report.accounts} accounts, {report.postings} postings, {report.settled_runs} settled runs, "
        f"{report.open_holds} open holds",
        f"charged {format_amount(report.charged)}, refunded {format_amount(report.refunds)}, "
        f"credit {format_amount(report.credit)}, held {format_amount(report.held)}, "
        f"owed {format_amount(report.receivable)}",
        f"{report.rated_again} charges were rated again from their inputs",
        f"{report.sealed} postings are as they were sealed, {report.unsealed} are not sealed yet",
    ]
    lines += [
        f"WRONG {fault.rule}: {fault.subject}: {fault.found} instead of {fault.expected}"
        + (f" ({fault.detail})" if fault.detail else "")
        for fault in report.faults
    ]
    if report.first_tampered:
        lines.append(f"the first tampered posting is {report.first_tampered}")
    lines.append("the books agree" if report.ok else f"{len(report.faults)} places do not agree")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="agora_billing.verify", description="Audit billing's books.")
    parser.add_argument("--account", help="look at this account alone")
    parser.add_argument("--json", action="store_true", help="print the report as one line of JSON")
    asked = parser.parse_args(arguments)
    report = asyncio.run(audit(load_settings(VerifySettings).database_system_url, asked.account))
    if asked.account and not report.accounts:
        print(f"error: there is no account {asked.account}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(report).decode() if asked.json else summary(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
