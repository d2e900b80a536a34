"""How much of something a tenant may have open at once, in this process."""

from collections import Counter
from types import TracebackType
from typing import Self

from agora_contracts.problems import AgoraError

_RETRY_SECONDS = 5


class Place:
    """One of a tenant's places, until it is released; releasing it again changes nothing."""

    def __init__(self, taken: Counter[str], tenant: str) -> None:
        self._taken = taken
        self._tenant: str | None = tenant
        taken[tenant] += 1

    def release(self) -> None:
        """Leave the place to another."""
        if self._tenant is None:
            return
        self._taken[self._tenant] -= 1
        if not self._taken[self._tenant]:
            del self._taken[self._tenant]
        self._tenant = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class PerTenant:
    """Counts what is open of a kind.

    Args:
        what: what is counted, in the plural.
        places_max: how many a tenant may have open at once.
    """

    def __init__(self, what: str, places_max: int) -> None:
        self._what = what
        self.places_max = places_max
        self._taken: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open, of all tenants."""
        return self._taken.total()

    def take(self, tenant: str) -> Place:
        """A place for one more.

        Raises:
            AgoraError: `too_many_requests`, the tenant has none left.
        """
        if self._taken[tenant] >= self.places_max:
            raise AgoraError(
                "too_many_requests",
                f"at most {self.places_max} {self._what} may be open at once; close some",
                retry_after_seconds=_RETRY_SECONDS,
            )
        return Place(self._taken, tenant)
