"""The audit: recompute everything that is cached, in one snapshot."""

from collections.abc import Callable

from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.audit import store
from agora_billing.audit.chains import check_chains
from agora_billing.audit.model import Fault, Progress, Report
from agora_billing.audit.periods import check_periods
from agora_billing.audit.ratings import check_ratings
from agora_billing.audit.rules import RULES
from agora_billing.audit.store import FAULTS_MAX, RunBooks
from agora_billing.charges.split import change, earned

type Watch = Callable[[Progress], None]

EARNED = "what a run has left on the ledgers is what its charge earns"
_TELL_EVERY = 1000


def _nobody(_: Progress) -> None:
    """Nobody watches."""


async def verify(database: Database, account: str | None = None, watch: Watch = _nobody) -> Report:
    """Recompute balances, holds, postings, charges, earnings and hashes, and report where they do not agree.

    Args:
        account: look at this account alone.
        watch: told how far it has come.
    """
    async with database.system() as connection:
        await store.hold_still(connection)
        faults: list[Fault] = []
        for number, rule in enumerate(RULES):
            watch(Progress(step="rules", done=number, total=len(RULES)))
            faults += await store.broken(connection, rule, account)
        figures = await store.figures(connection, account)
        faults += await _earnings(connection, account, figures["settled_runs"], watch)
        done = 0

        def seen(places: int) -> None:
            nonlocal done
            done += places
            watch(Progress(step="hashes", done=done, total=figures["postings"]))

        chains = await check_chains(connection, account, seen)
        rated = 0

        def rerated(charges: int) -> None:
            nonlocal rated
            rated += charges
            watch(Progress(step="charges", done=rated, total=figures["charges"]))

        ratings = await check_ratings(connection, account, rerated)
        faults += await check_periods(connection, account)
    return Report(
        ok=not faults and not chains.faults and not ratings.faults,
        faults=faults + ratings.faults + chains.faults,
        rated_again=ratings.rated,
        sealed=chains.sealed,
        unsealed=chains.unsealed,
        first_tampered=chains.faults[0].subject if chains.faults else None,
        **figures,
    )


async def _earnings(
    connection: AsyncConnection, account: str | None, total: int, watch: Watch
) -> list[Fault]:
    """Runs whose postings have not left on the ledgers what their charge, share and refunds say."""
    faults: list[Fault] = []
    done = 0
    async for run in store.runs(connection, account):
        if len(faults) < FAULTS_MAX:
            faults += _wrongly_earned(run)
        done += 1
        if done % _TELL_EVERY == 0:
            watch(Progress(step="runs", done=done, total=total))
    return faults


def _wrongly_earned(run: RunBooks) -> list[Fault]:
    expected = earned(run.amount, run.lines, run.author_share, run.refunded)
    return [
        Fault(
            rule=EARNED,
            subject=run.run,
            expected=expected.get(ledger, 0),
            found=run.books.get(ledger, 0),
            detail=str(ledger),
        )
        for ledger in sorted(change(expected, run.books) if expected else run.books)
    ]
