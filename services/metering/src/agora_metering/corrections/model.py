"""What a correction may say, and what it changes."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.usage import QUANTITY_MAX, QUANTITY_STEP
from agora_contracts.usage_ingest import CorrectionKind, CorrectUsage

_OWN = ("key:", "nats:")
"""How sources of what a tenant reported itself begin: by one of its keys, or by an integrator of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """An event as it counts now. `corrections` is how many it has had."""

    accepted_month: date
    source: str
    id: str
    meter: str
    quantity: Decimal
    voided: bool
    at: datetime
    run: str | None
    deployment: str | None
    package: str | None
    corrections: int

    @property
    def counts(self) -> Decimal:
        """What it adds to its totals."""
        return Decimal(0) if self.voided else self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A correction: the `number`-th of its event. `quantity` is what counts from here on, 0 where it is voided."""

    tenant: str
    source: str
    id: str
    corrects: Counted
    number: int
    kind: CorrectionKind
    quantity: Decimal
    reason: str
    at: datetime

    @property
    def difference(self) -> Decimal:
        """What is added to the totals."""
        return self.quantity - self.corrects.counts

    @property
    def changes_totals(self) -> bool:
        """Whether anything counts differently: another quantity, or the event at all."""
        return self.difference != 0 or self.corrects.voided != (self.kind == "void")


def check(command: CorrectUsage) -> None:
    """Raise unless the correction says one thing that can be done.

    Raises:
        AgoraError: `invalid_input`, with the fields at fault; `forbidden` for what the tenant did not report itself.
    """
    faults = []
    if command.kind == "amend" and command.quantity is None:
        faults.append(
            FieldError(field="/quantity", detail="an amended event needs the quantity that counts instead")
        )
    if command.kind == "void" and command.quantity is not None:
        faults.append(
            FieldError(field="/quantity", detail="a voided event counts for nothing; leave quantity out")
        )
    if command.quantity is not None and not _countable(command.quantity):
        detail = f"must be from 0 to {QUANTITY_MAX} in steps of {QUANTITY_STEP:f}"
        faults.append(FieldError(field="/quantity", detail=detail))
    if faults:
        raise AgoraError("invalid_input", "the correction cannot be booked; see errors", errors=faults)
    if command.own_only and not command.corrects_source.startswith(_OWN):
        raise AgoraError(
            "forbidden",
            "only usage that you reported yourself can be corrected with a key; ask the operator for any other",
        )


def _countable(quantity: Decimal) -> bool:
    return quantity.is_finite() and 0 <= quantity <= QUANTITY_MAX and not quantity % QUANTITY_STEP


def correction(command: CorrectUsage, counted: Counted, now: datetime) -> Correction:
    """The correction that a command asks for, of an event as it counts now."""
    quantity = Decimal(0) if command.quantity is None else command.quantity.normalize()
    return Correction(
        tenant=command.tenant,
        source=command.source,
        id=command.id,
        corrects=counted,
        number=counted.corrections + 1,
        kind=command.kind,
        quantity=quantity,
        reason=command.reason,
        at=now,
    )
