"""What a total is: how the parts of a span of time make up the whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from agora_contracts.meters import Aggregation


class Merge(IntEnum):
    """How two parts of a total become one. Stored in every row of a total."""

    ADD = 0
    LEAST = 1
    GREATEST = 2
    LATEST = 3
    DISTINCT = 4
    """Each distinct value has a series of its own, with the number of its events; how many there are is counted."""


_MERGES: dict[Aggregation, Merge] = {
    "sum": Merge.ADD,
    "count": Merge.ADD,
    "min": Merge.LEAST,
    "max": Merge.GREATEST,
    "latest": Merge.LATEST,
    "unique_count": Merge.DISTINCT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """How events of a recorded meter are totalled for one tenant under `key`."""

    tenant: str
    key: str
    event: str
    aggregation: Aggregation
    value: str | None = None
    dimensions: Sequence[str] = ()

    @property
    def merge(self) -> Merge:
        """How parts of its totals become one."""
        return _MERGES[self.aggregation]


def as_recorded(tenant: str, meter: str) -> Definition:
    """How a recorded meter is totalled that nobody has defined: summed."""
    return Definition(tenant=tenant, key=meter, event=meter, aggregation="sum")
