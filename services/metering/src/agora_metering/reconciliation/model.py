"""The rules of reconciliation: what must be alike, and how a difference is said."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from agora_contracts.billing import Quantity
from agora_contracts.month_books import MonthBooks
from agora_contracts.periods import PeriodTotal
from agora_contracts.reconciliation import Difference, EndedRunFacts, RecordedUsage, RunBooks


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRun:
    """What is counted of a run: how many events, their sums as recorded and as corrected, and the revision told."""

    run: str
    events: int
    recorded: Mapping[str, Decimal]
    effective: Mapping[str, Decimal]
    revision: int


def compare_events(
    recorded: Sequence[RecordedUsage],
    streamed: Collection[str],
    stored: Collection[tuple[str, str]],
    refused: Mapping[str, str],
) -> list[Difference]:
    """Where recorded events are not published, not on the stream, or not stored.

    Args:
        streamed: ids of the messages on the stream.
        stored: (tenant, id) of the stored events.
        refused: why an event was refused, by its id.
    """
    found: list[Difference] = []
    for event in recorded:
        if not event.published:
            found.append(_of_event("outbox", event, "was recorded and is not published"))
        elif event.id not in streamed:
            found.append(_of_event("stream", event, "was published and is not on the stream any more"))
        if (event.tenant, event.id) not in stored:
            why = f": it was refused: {refused[event.id]}" if event.id in refused else ""
            found.append(_of_event("events", event, f"was recorded and is not counted{why}"))
    return found


def _of_event(joint: str, event: RecordedUsage, detail: str) -> Difference:
    return Difference(joint=joint, subject=event.id, detail=detail, tenant=event.tenant)  # type: ignore[arg-type]


def compare_run(facts: EndedRunFacts, counted: CountedRun | None, books: RunBooks | None) -> list[Difference]:
    """Where a run that has ended is known differently by execution, metering and billing."""
    found: list[Difference] = []

    def differ(joint: str, detail: str) -> None:
        found.append(Difference(joint=joint, subject=facts.run, detail=detail, tenant=facts.tenant))  # type: ignore[arg-type]

    if facts.outbox_count != facts.usage_count:
        differ("outbox", f"recorded {facts.usage_count} usage events, its outbox has {facts.outbox_count}")
    if counted is None or counted.revision == 0:
        differ("runs", "has ended and its usage is not closed")
        return found
    if counted.events != facts.usage_count:
        differ("runs", f"recorded {facts.usage_count} usage events, {counted.events} are counted")
    if (quantities := _sums(facts.usage)) != _plain(counted.recorded):
        differ("runs", f"recorded {_shown(quantities)}, counted is {_shown(_plain(counted.recorded))}")
    if books is None:
        differ("charges", "has ended and billing does not know it")
        return found
    if books.charged is None or books.revision != counted.revision:
        differ("charges", f"its usage has revision {counted.revision}, charged is {books.revision}")
    elif (rated := _sums(books.usage)) != _plain(counted.effective):
        differ("charges", f"counted is {_shown(_plain(counted.effective))}, charged was {_shown(rated)}")
    if (books.charged, books.refunded) != (facts.charged, facts.refunded):
        differ(
            "charges",
            f"billing charged {books.charged} and refunded {books.refunded}, execution was told of "
            f"{facts.charged} and {facts.refunded} micro-units",
        )
    if books.charged is not None and books.hold != "settled":
        differ("holds", f"has ended and is settled, and its hold is {books.hold}")
    return found


def compare_month(tenant: str, told: PeriodTotal, books: MonthBooks) -> list[Difference]:
    """Where the newest total that was told of a month is not what billing has taken up, or something later."""
    if not books.rated or books.revision > told.revision:
        return []
    detail = ""
    if books.revision < told.revision:
        detail = f"revision {told.revision} was told, billing has taken up {books.revision}"
    elif books.quantity != told.quantity:
        detail = f"revision {told.revision} says {told.quantity:f}, billing has {books.quantity:f}"
    subject = f"{told.deployment}/{told.meter}/{told.period_start:%Y-%m}"
    return [Difference(joint="months", subject=subject, detail=detail, tenant=tenant)] if detail else []


def _sums(usage: Sequence[Quantity]) -> dict[str, Decimal]:
    return _plain({one.meter: one.quantity for one in usage})


def _plain(sums: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Without meters of which nothing was used: whether they are named is no difference."""
    return {meter: quantity for meter, quantity in sums.items() if quantity}


def _shown(sums: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{meter} {quantity:f}" for meter, quantity in sorted(sums.items())) or "nothing"
