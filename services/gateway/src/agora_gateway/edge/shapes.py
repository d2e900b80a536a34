"""Public shapes that several capabilities share, and how contracts become them."""

from decimal import Decimal

from agora_contracts.billing import Quantity, QuoteLine
from agora_contracts.money import Money, PublicMoney, format_amount, from_public, to_public
from agora_contracts.problems import AgoraError, FieldError


class MoneyBody(PublicMoney, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount as a decimal string with at most six places, and its currency."""


def read_money(given: PublicMoney, field: str) -> Money:
    """Money that somebody sent, in micro-units.

    Raises:
        AgoraError: `invalid_input`, naming the `field` (a JSON pointer).
    """
    try:
        return from_public(given)
    except ValueError as error:
        fields = [FieldError(field=f"{field}/amount", detail=str(error))]
        raise AgoraError("invalid_input", "the amount cannot be read", errors=fields) from error


def read_max_cost(given: PublicMoney | None) -> Money | None:
    """The hard budget that somebody sent for a run, if any.

    Raises:
        AgoraError: `invalid_input`, naming the field; also for one below nothing.
    """
    if given is None:
        return None
    money = read_money(given, "/max_cost")
    if money.amount < 0:
        detail = "must not be negative"
        raise AgoraError(
            "invalid_input",
            f"max_cost {detail}",
            errors=[FieldError(field="/max_cost/amount", detail=detail)],
        )
    return money


def public_money(amount: int, currency: str) -> PublicMoney:
    """Micro-units as public money."""
    return PublicMoney(amount=format_amount(amount), currency=currency)


def optional_money(money: Money | None) -> PublicMoney | None:
    """Public money, or None."""
    return None if money is None else to_public(money)


USD_HALF = PublicMoney(amount="0.500000", currency="USD")
A_LINE = QuoteLine(
    meter="echo.task",
    description="1 task",
    quantity=Decimal(1),
    unit_price=Decimal("0.5"),
    amount=Decimal("0.5"),
)
A_QUANTITY = Quantity(meter="echo.task", quantity=Decimal(1))
