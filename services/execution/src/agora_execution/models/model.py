"""The rules of model calls: which calls are equal, and which of those that wait a run's hold has room for. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

RETRIES_MAX = 20
"""How often all calls of a run together may be tried again, at the same model or at another."""

REPLY_BYTES_MAX = 512 * 1024
"""The longest reply, as JSON, that is kept for a step that is called again."""

_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string")


class CallPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a run a call is made: the `number`-th one of its step that asks exactly this (`digest`).

    Numbers are counted among equal calls only, so that a step that makes calls at once finds each again, in
    whichever order they came.
    """

    run: str
    tenant: str
    step: str
    attempt: int
    digest: str
    number: int


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A try that is about to be made, and the most it can cost the run's hold (micro-units).

    `retry` says that it is not the first of its call.
    """

    id: str
    place: CallPlace
    model: str
    amount: int
    own_key: bool = False
    retry: bool = False


type Refusal = Literal["ended", "full", "never", "no_retries"]
"""`full`: no room now, but calls at hand may leave some. `never`: not even if they cost nothing."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What came of opening: nothing stands in the way, or a refusal, or the reply that an earlier attempt got.

    Of a refusal for want of room: what is missing, what was asked for, and what the run has for models in all.
    """

    refusal: Refusal | None = None
    missing: int = 0
    amount: int = 0
    limit: int = 0
    reply: bytes | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a try came to. `spent` counts against the run's hold, `cost` is what the vendor asks (micro-units)."""

    id: str
    spent: int
    cost: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    reconciled: bool = False
    failure: str | None = None
    reply: bytes | None = None
    cached: bool = False


@dataclass(slots=True, kw_only=True)
class Room:
    """What a run's hold has for models, while its row is locked (micro-units), and the retries that are left."""

    limit: int
    reserved: int
    spent: int
    retries: int
    ended: bool
    taken: int = 0
    retried: int = 0

    def take(self, opening: Opening, retries_max: int = RETRIES_MAX) -> Opened:
        """Reserve what a try may cost, if it fits beside what is spent and reserved."""
        if self.ended:
            return Opened(refusal="ended")
        if opening.retry and self.retries + self.retried >= retries_max:
            return Opened(refusal="no_retries")
        free = self.limit - self.spent - self.reserved - self.taken
        # What costs the hold nothing needs no room, and there is less than none where a vendor asked for too much.
        if opening.amount > max(free, 0):
            missing = self.spent + opening.amount - self.limit
            return Opened(
                refusal="never" if missing > 0 else "full",
                missing=max(missing, 0),
                amount=opening.amount,
                limit=self.limit,
            )
        self.taken += opening.amount
        self.retried += opening.retry
        return Opened()


def take_in_turn(rooms: Mapping[str, Room], openings: Sequence[Opening]) -> list[Opened]:
    """Reserve for each try in the order in which they came. A smaller one behind one that does not fit may fit."""
    nothing = Opened(refusal="ended")
    return [rooms[one.place.run].take(one) if one.place.run in rooms else nothing for one in openings]


def digest_of(kind: str, asked: Mapping[str, Any]) -> str:
    """The same text for the same request, and another for any other."""
    return hashlib.sha256(kind.encode() + b"\0" + _encoder.encode(asked)).hexdigest()
