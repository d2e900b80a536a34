"""Refunds as the public API shows them."""

from datetime import UTC, datetime

import msgspec
from agora_contracts.money import PublicMoney
from agora_contracts.refunds import Reason, Reference, Refund, RefundList, RefundResult

from agora_gateway.edge.shapes import USD_HALF, MoneyBody, public_money


class RefundBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to give back: an amount, or with none all that is left of the charge. `reference` makes it happen once."""

    reason: Reason
    reference: Reference
    amount: MoneyBody | None = None


class RefundShape(msgspec.Struct, frozen=True, kw_only=True):
    """A refund and where it went: to the platform, which had borne a part; off what is owed; credit again.

    `expired` is the part of `to_promotional` whose grants have expired since: it is no credit any more.
    """

    run: str
    number: int
    amount: PublicMoney
    to_platform: PublicMoney
    off_receivable: PublicMoney
    to_credit: PublicMoney
    to_promotional: PublicMoney
    expired: PublicMoney
    reason: str
    reference: str
    at: datetime


class RefundResultShape(msgspec.Struct, frozen=True, kw_only=True):
    """A refund, and what of the run's charge has been given back by now."""

    refund: RefundShape
    charged: PublicMoney
    refunded: PublicMoney


class RefundListShape(msgspec.Struct, frozen=True, kw_only=True):
    """A run's refunds, oldest first, and what of its charge has been given back."""

    items: list[RefundShape]
    charged: PublicMoney
    refunded: PublicMoney


def refund_shape(refund: Refund) -> RefundShape:
    """A refund for the public."""
    currency = refund.currency
    return RefundShape(
        run=refund.run,
        number=refund.number,
        amount=public_money(refund.amount, currency),
        to_platform=public_money(refund.to_platform, currency),
        off_receivable=public_money(refund.off_receivable, currency),
        to_credit=public_money(refund.to_credit, currency),
        to_promotional=public_money(refund.to_promotional, currency),
        expired=public_money(refund.expired, currency),
        reason=refund.reason,
        reference=refund.reference,
        at=refund.at,
    )


def result_shape(result: RefundResult) -> RefundResultShape:
    """What a refund came to, for the public."""
    currency = result.refund.currency
    return RefundResultShape(
        refund=refund_shape(result.refund),
        charged=public_money(result.charged, currency),
        refunded=public_money(result.refunded, currency),
    )


def list_shape(refunds: RefundList) -> RefundListShape:
    """A run's refunds for the public."""
    return RefundListShape(
        items=[refund_shape(one) for one in refunds.items],
        charged=public_money(refunds.charged, refunds.currency),
        refunded=public_money(refunds.refunded, refunds.currency),
    )


# --- examples of the documentation ---------------------------------------------------------------

_NOTHING = PublicMoney(amount="0.000000")
A_REFUND_BODY = RefundBody(
    amount=MoneyBody(amount="0.500000"), reason="Two columns were mixed up.", reference="ticket-4711"
)
A_REFUND = RefundShape(
    run="run_0190a5b07c3a7d4e8f00112233445566",
    number=1,
    amount=USD_HALF,
    to_platform=_NOTHING,
    off_receivable=_NOTHING,
    to_credit=USD_HALF,
    to_promotional=_NOTHING,
    expired=_NOTHING,
    reason="Two columns were mixed up.",
    reference="ticket-4711",
    at=datetime(2026, 1, 6, 9, 0, tzinfo=UTC),
)
A_RESULT = RefundResultShape(refund=A_REFUND, charged=PublicMoney(amount="2.000000"), refunded=USD_HALF)
A_LIST = RefundListShape(items=[A_REFUND], charged=PublicMoney(amount="2.000000"), refunded=USD_HALF)
