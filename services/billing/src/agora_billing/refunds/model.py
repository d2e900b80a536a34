"""A refund: part of a run's charge that goes back to who paid it. Amounts are whole micro-units.

What a run costs is its charge less its refunds; neither a refund nor a later correction of the usage makes that
negative. What a month has given back of its runs' charges is not refunded a second time, to none of those who
paid. Who gets it back is decided as for corrections (`charges.model.return_to`), and the author of the package gives
back in proportion (`charges.split.earned`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agora_contracts.money import MAX_MICRO, Money, format_amount
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.refunds import Refund as RefundReply
from agora_contracts.refunds import RefundRun

from agora_billing.charges.model import Funding


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A run's `number`-th refund, counted from 1.

    `returned` says to whom it went, in parts of which none is negative; of its promotional part `expired` fell to
    grants whose time was over. `author` is what the package's author gave back of `amount`. `whole` says that it
    was asked for all that was left.
    """

    run: str
    number: int
    tenant: str
    account: str
    currency: str
    amount: int
    whole: bool
    returned: Funding
    expired: int
    author: int
    reference: str
    reason: str
    at: datetime

    def reply(self) -> RefundReply:
        """The refund as it is answered."""
        return RefundReply(
            run=self.run,
            account=self.account,
            number=self.number,
            currency=self.currency,
            amount=self.amount,
            to_platform=self.returned.platform,
            off_receivable=self.returned.receivable,
            to_credit=self.returned.credit,
            to_promotional=self.returned.promotional,
            expired=self.expired,
            reason=self.reason,
            reference=self.reference,
            at=self.at,
        )


def check_same(known: Refund, command: RefundRun) -> None:
    """Refuse another refund under the reference of one that is there.

    Raises:
        AgoraError: `conflict`.
    """
    asked = None if known.whole else Money(amount=known.amount, currency=known.currency)
    if (asked, known.reason) != (command.amount, command.reason):
        raise AgoraError(
            "conflict",
            f"reference {command.reference!r} gave back {format_amount(known.amount)} {known.currency} before;"
            " use another reference for another refund",
        )


def payers_left(paid: Funding, months: Sequence[Funding]) -> Funding:
    """Who of a run's payers may still get how much back: none more than every month that it counts in has left of them.

    Paid credit and what is owed count as one: what was owed may have been paid meanwhile.

    Args:
        paid: who has paid the run and not got it back by its own refunds.
        months: the same of each of its months as a whole, which may have given back beside its runs.
    """
    if not months:
        return paid
    platform = max(min([paid.platform, *(one.platform for one in months)]), 0)
    owing = max(min(one.credit + one.receivable for one in (paid, *months)), 0)
    promotional = max(min([paid.promotional, *(one.promotional for one in months)]), 0)
    receivable = min(paid.receivable, owing)
    return Funding(
        promotional=promotional, credit=owing - receivable, receivable=receivable, platform=platform
    )


def amount_of(
    command: RefundRun, charged: int, refunded: int, currency: str, month_left: int | None = None
) -> int:
    """How much to give back of a charge of which `refunded` has been given back before.

    Args:
        month_left: where the run counts in months, what its payers may still get back of them.

    Raises:
        AgoraError: `currency_mismatch`; `invalid_input` for an amount that is not above zero;
            `refund_exceeds_charge` for more than is left.
    """
    left, gone = charged - refunded, f"{format_amount(refunded)} given back"
    if month_left is not None and month_left < left:
        left, gone = max(month_left, 0), f"{gone}, and more by its month"
    if command.amount is None:
        if not left:
            raise AgoraError(
                "refund_exceeds_charge",
                f"nothing is left to refund: {format_amount(charged)} {currency} were charged, {gone}",
            )
        return left
    if command.amount.currency != currency:
        raise AgoraError(
            "currency_mismatch", f"the charge is in {currency}, the refund in {command.amount.currency}"
        )
    amount = command.amount.amount
    if not 0 < amount <= MAX_MICRO:
        detail = "must be greater than zero"
        raise AgoraError(
            "invalid_input",
            "a refund's amount must be greater than zero",
            errors=[FieldError(field="/amount", detail=detail)],
        )
    if amount > left:
        raise AgoraError(
            "refund_exceeds_charge",
            f"at most {format_amount(left)} {currency} can be refunded: {format_amount(charged)} were charged, "
            f"{gone}; {format_amount(amount)} is more",
        )
    return amount
