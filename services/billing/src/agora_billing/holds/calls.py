"""What the runs that a run calls take of its hold. Amounts are whole micro-units.

A hold is set aside with a part for calls (its quote's line `agents.cost`). A run that is called gets its own hold carved
out of that part: what the account holds, and what its budgets have reserved, stay as they are. What the called run does
not spend comes back to the hold of its parent while that is open, afterwards to the account.

    amount + calls_taken = what was set aside for the run in all        (of an open hold)
    calls_taken          = the sum of what the runs that it called have taken (`from_parent`)
    from_parent          = amount + calls_taken                         (of an open hold that was carved out)
    calls_taken         <= calls_max, so that the rest always covers the run's own price
"""

from copy import replace
from decimal import ROUND_FLOOR, Decimal

from agora_contracts.billing import CALLERS_ROOM, Quote
from agora_contracts.catalog import AGENTS_COST_METER
from agora_contracts.money import MICRO, format_amount
from agora_contracts.problems import AgoraError, FieldError

from agora_billing.holds.model import RunHold
from agora_billing.rating.exact import EXACT


def part_for_calls(quote: Quote, amount: int) -> int:
    """What of a hold of `amount` may go to called runs: what is left of it once the run's own price is covered."""
    lines = [line.amount for line in quote.lines if line.meter == AGENTS_COST_METER]
    quoted = sum(int(EXACT.multiply(one, Decimal(MICRO)).to_integral_value(ROUND_FLOOR)) for one in lines)
    return max(amount - (quote.amount.amount - quoted), 0) if quoted else 0


def require_caller(parent: RunHold | None, run: str, tenant: str, account: str) -> RunHold:
    """The hold that a called run's may be carved out of.

    Raises:
        AgoraError: `not_found` for an unknown parent; `conflict` for one of another account, or the run itself;
            `hold_closed` for one that is not firm.
    """
    if parent is None or parent.tenant != tenant:
        raise AgoraError("not_found", "billing knows no run that called this one")
    if parent.account != account or parent.run == run:
        raise AgoraError(
            "conflict", "a called run is paid from the account and the hold of the run that calls it"
        )
    if parent.state != "firm":
        raise AgoraError(
            "hold_closed", f"the hold of the calling run is {parent.state}; only a firm one pays for calls"
        )
    return parent


def refusal(parent: RunHold, needed: int) -> AgoraError:
    """The answer when a called run needs more than its parent has left for calls."""
    has = format_amount(parent.calls_left)
    field, remedy = CALLERS_ROOM, "let it call less, or increase its hold"
    if not parent.calls_max:
        # For its author to mend, and not for who pays.
        field, remedy = "/package", "nothing was set aside for any: let its package say limits.calls_cost_max"
    return AgoraError(
        "budget_exhausted",
        f"{format_amount(needed)} {parent.currency} are needed and the calling run has {has} left of "
        f"{format_amount(parent.calls_max)} for calls; {remedy}",
        errors=[FieldError(field=field, detail=f"has {has} left")],
    )


def carved(parent: RunHold, amount: int) -> RunHold:
    """The parent's hold after a called run has taken `amount` of it; of a closed one it is only noted."""
    return returned(parent, -amount)


def returned(parent: RunHold, amount: int) -> RunHold:
    """The parent's hold after `amount` of what was taken came back: to the hold, or past a closed one to the account."""
    taken = parent.calls_taken - amount
    if parent.is_open:
        return replace(parent, amount=parent.amount + amount, calls_taken=taken)
    return replace(parent, calls_taken=taken)


def taken(called: RunHold, amount: int) -> RunHold:
    """A called run's hold after it has taken `amount` more of its parent's (negative: gave back)."""
    return replace(called, from_parent=called.from_parent + amount)
