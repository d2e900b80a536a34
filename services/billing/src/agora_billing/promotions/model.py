"""A grant of promotional credit. Amounts are whole micro-units.

Of several grants the one that expires first is spent first, one that does not expire last. What an account has set
aside for runs is taken to lie on its grants in the same order, and then on paid credit: so a grant expires only as
far as nothing of it is set aside.
"""

from collections.abc import Iterable
from copy import replace
from datetime import UTC, datetime

import msgspec
from agora_contracts.ids import derived
from agora_contracts.money import MAX_MICRO
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.promotions import GrantPromotion, Promotion, PromotionState

from agora_billing.accounts.model import Account

_NEVER = datetime.max.replace(tzinfo=UTC)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Promotional credit that was given once.

    Invariant: what is remaining, was spent and is expired add up to `amount`, and none of them is negative.
    """

    id: str
    tenant: str
    account: str
    currency: str
    amount: int
    remaining: int
    expired: int
    reference: str
    reason: str
    granted_at: datetime
    expires_at: datetime | None

    @property
    def spent(self) -> int:
        """What was charged of it and not given back."""
        return self.amount - self.remaining - self.expired

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def shown(self, now: datetime) -> Promotion:
        """The grant as it is answered."""
        state: PromotionState = "active"
        if not self.remaining:
            state = "expired" if self.is_over(now) and self.expired else "used_up"
        return Promotion(
            id=self.id,
            account=self.account,
            currency=self.currency,
            amount=self.amount,
            remaining=self.remaining,
            spent=self.spent,
            expired=self.expired,
            state=state,
            reference=self.reference,
            reason=self.reason,
            granted_at=self.granted_at,
            expires_at=self.expires_at,
        )


def grant_id(account: str, reference: str) -> str:
    """The id of the one grant that an account has under a reference."""
    return derived("promo", account, reference)


def granted(account: Account, command: GrantPromotion, now: datetime) -> tuple[Account, Grant]:
    """Give an account promotional credit.

    Raises:
        AgoraError: `account_closed`, `currency_mismatch`, or `invalid_input` naming the field at fault.
    """
    account.require_open()
    if command.amount.currency != account.currency:
        raise AgoraError(
            "currency_mismatch",
            f"the account is in {account.currency}, the grant in {command.amount.currency}",
        )
    amount = command.amount.amount
    if not 0 < amount <= MAX_MICRO - account.credit - account.promotional:
        raise AgoraError(
            "invalid_input",
            "a grant must be greater than zero, and the account able to hold it",
            errors=[
                FieldError(field="/amount", detail="must be greater than zero; grant less if it is huge")
            ],
        )
    expires_at = command.expires_at
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise AgoraError(
            "invalid_input",
            "a grant must expire in the future",
            errors=[FieldError(field="/expires_at", detail="must be a future time with its offset from UTC")],
        )
    grant = Grant(
        id=grant_id(account.id, command.reference),
        tenant=account.tenant,
        account=account.id,
        currency=account.currency,
        amount=amount,
        remaining=amount,
        expired=0,
        reference=command.reference,
        reason=command.reason,
        granted_at=now,
        expires_at=expires_at,
    )
    return replace(account, promotional=account.promotional + amount), grant


def check_same(known: Grant, command: GrantPromotion) -> None:
    """Refuse another grant under the reference of one that is there.

    Raises:
        AgoraError: `conflict`.
    """
    if (known.amount, known.currency, known.expires_at) != (
        command.amount.amount,
        command.amount.currency,
        command.expires_at,
    ):
        raise AgoraError(
            "conflict",
            f"reference {command.reference!r} stands for another grant; use another reference for this one",
        )


def in_order(grants: Iterable[Grant]) -> list[Grant]:
    """Grants in the order in which they are spent."""
    return sorted(grants, key=lambda grant: (grant.expires_at or _NEVER, grant.granted_at, grant.id))


def spend(grants: Iterable[Grant], amount: int) -> list[tuple[Grant, int]]:
    """Take `amount` of grants; what became of each that gave something, and how much that was.

    Raises:
        ValueError: they have less than that: a fault of ours, the account says what they have.
    """
    changed: list[tuple[Grant, int]] = []
    for grant in in_order(grants):
        if not amount:
            break
        part = min(amount, grant.remaining)
        if part:
            changed.append((replace(grant, remaining=grant.remaining - part), part))
            amount -= part
    if amount:
        raise ValueError(f"the grants lack {amount} micro-units of what the account says")
    return changed


def give_back(
    grants: Iterable[Grant], uses: dict[str, int], amount: int, now: datetime
) -> list[tuple[Grant, int, int]]:
    """Give `amount` back to the grants that a run has spent of, the last spent first.

    What goes back to a grant whose time is over expires at once.

    Args:
        uses: what the run has spent of each grant, by its id, and not got back yet.

    Returns:
        What became of each grant, how much went back to it, and how much of that has expired.

    Raises:
        ValueError: the run has spent less than that.
    """
    changed: list[tuple[Grant, int, int]] = []
    for grant in reversed(in_order(grants)):
        part = min(amount, uses.get(grant.id, 0))
        if not part:
            continue
        amount -= part
        if grant.is_over(now):
            changed.append((replace(grant, expired=grant.expired + part), part, part))
        else:
            changed.append((replace(grant, remaining=grant.remaining + part), part, 0))
    if amount:
        raise ValueError(f"the run has spent {amount} micro-units less of grants than is given back")
    return changed


def expire(grants: Iterable[Grant], held: int, now: datetime) -> list[tuple[Grant, int]]:
    """Let grants expire whose time is over, as far as nothing of them is set aside.

    Args:
        held: what the account has set aside in all.

    Returns:
        What became of each grant that lost something, and how much that was.
    """
    changed: list[tuple[Grant, int]] = []
    for grant in in_order(grants):
        covered = min(held, grant.remaining)
        held -= covered
        lost = grant.remaining - covered
        if lost and grant.is_over(now):
            changed.append((replace(grant, remaining=covered, expired=grant.expired + lost), lost))
    return changed


def next_expiry(grants: Iterable[Grant]) -> datetime | None:
    """When the first of the grants expires of which something is left; None when none does."""
    return min((grant.expires_at for grant in grants if grant.remaining and grant.expires_at), default=None)
