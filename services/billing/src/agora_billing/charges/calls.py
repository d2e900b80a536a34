"""What a called run's charge takes of its parent's hold. Pure; amounts are whole micro-units.

A called run is paid from its own hold, which was carved out of its parent's. What it owes beyond that is taken of what
the parent has left for calls, never of what else the account has: so the quote of the run that a customer has asked for
bounds what all of it costs. The platform bears the rest.
"""

from typing import NamedTuple

from agora_billing.accounts.model import Account
from agora_billing.charges.model import Funding, take
from agora_billing.holds import calls
from agora_billing.holds.model import RunHold


class Paid(NamedTuple):
    """A called run's charge, and what has become of account and holds; `moved` was taken of the parent beyond before."""

    account: Account
    funding: Funding
    called: RunHold
    parent: RunHold
    moved: int


def room(parent: RunHold, parent_paid: int | None) -> int:
    """What called runs may still take of their parent's hold, or could have taken of one that is closed.

    Args:
        parent_paid: what the customer was charged for the parent itself; None before its end.
    """
    if parent_paid is None or parent.run_limit is None:
        return parent.calls_left
    return max(min(parent.calls_left, parent.run_limit - parent_paid - parent.calls_taken), 0)


def pay(account: Account, called: RunHold, parent: RunHold, amount: int, own: int, most: int) -> Paid:
    """Charge a called run.

    Args:
        own: what it has taken of its parent and was not charged for: available credit of the account by now.
        most: what its customer may be charged at most, of which all but `own` is taken of the parent.
    """
    moved = max(min(amount, most) - own, 0)
    if parent.is_open:
        account = account.give_back(moved)
    account, funding = take(account, amount, most)
    return Paid(account, funding, calls.taken(called, moved), calls.carved(parent, moved), moved)


def give_back(paid: Paid, back: int) -> Paid:
    """Let `back` of what the called run had set aside go to its parent, whose hold keeps it aside while it is open."""
    account = paid.account.keep_aside(back) if paid.parent.is_open else paid.account
    return paid._replace(
        account=account,
        called=calls.taken(paid.called, -back),
        parent=calls.returned(paid.parent, back),
    )
