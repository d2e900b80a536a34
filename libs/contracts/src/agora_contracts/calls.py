"""What the runs that a run has called cost."""

from typing import Literal

import msgspec


class CallCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A run that another run has called, on that one's receipt. Micro-units of its currency.

    `held` is what was set aside for it, with what it has passed on to runs that it called itself; `charged` is its own
    charge, of which `refunded` was given back.
    """

    run: str
    package: str
    state: Literal["held", "settled", "lapsed"]
    held: int
    charged: int
    refunded: int
