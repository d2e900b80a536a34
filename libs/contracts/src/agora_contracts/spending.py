"""When there is more to spend: what runs that wait for credit or for a budget are woken by."""

from datetime import datetime
from typing import Literal

import msgspec

SpendingRoomCause = Literal["top_up", "promotion", "refund", "budget", "window"]


class SpendingRoomGrew(msgspec.Struct, frozen=True, kw_only=True):
    """More may be spent on an account than a moment ago, so that what was refused may fit now.

    `cause`: paid credit came in (`top_up`), credit was given (`promotion`) or went back (`refund`), a budget was raised,
    softened or deleted (`budget`), or a day or month in which a budget has refused something is over (`window`). Nothing
    is promised: whoever waits asks again, and several who wait may want the same.
    """

    account: str
    cause: SpendingRoomCause
    at: datetime
    budget: str | None = None
