"""Circuit breakers: a model that keeps failing is left alone for a while, and then tried by one call first.

Own code, as what is needed is small and particular: asking in advance which models are open orders the candidates of
a call, and the libraries for it wrap a call instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

FAILURES_MAX = 5
"""So many failures in a row open the circuit."""
PAUSE_SECONDS = 15.0
"""For so long it stays open; twice as long each time its probe fails, up to the most."""
PAUSE_SECONDS_MAX = 300.0
_CIRCUITS_MAX = 10_000
"""Agents choose the names of models, so of failing ones no more are kept; the oldest is forgotten, and so closed."""


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    rests_until: float = 0.0
    pause_seconds: float = PAUSE_SECONDS
    probing: bool = False


class Breakers:
    """A circuit for each model (`vendor:model` and whose key it is called with).

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}

    def admits(self, name: str) -> bool:
        """Whether a call may be made now. Of an open circuit whose pause is over, one call may: the probe.

        Whoever is admitted tells how it went: `succeeded`, `failed`, or `withdrew` where nothing was asked.
        """
        circuit = self._circuits.get(name)
        if circuit is None:
            return True
        if self._clock() < circuit.rests_until:
            return False
        if circuit.failures < FAILURES_MAX:
            return True
        if circuit.probing or self._clock() < circuit.open_until:
            return False
        circuit.probing = True
        return True

    def succeeded(self, name: str) -> None:
        """Close the circuit."""
        self._circuits.pop(name, None)

    def failed(self, name: str, pause_seconds: float | None = None) -> None:
        """Count a failure; a vendor that asked for `pause_seconds` gets them, which opens no circuit by itself."""
        circuit = self._circuits.setdefault(name, _Circuit())
        if len(self._circuits) > _CIRCUITS_MAX:
            self._circuits.pop(next(iter(self._circuits)))
        circuit.failures += 1
        if circuit.probing:
            circuit.pause_seconds = min(2 * circuit.pause_seconds, PAUSE_SECONDS_MAX)
            circuit.probing = False
        if pause_seconds is not None:
            circuit.rests_until = self._clock() + min(pause_seconds, PAUSE_SECONDS_MAX)
        if circuit.failures >= FAILURES_MAX:
            circuit.open_until = self._clock() + circuit.pause_seconds

    def rests_seconds(self, name: str) -> float:
        """How long the vendor still wants to be left alone; nothing, where it has not asked for that."""
        circuit = self._circuits.get(name)
        return 0.0 if circuit is None else max(circuit.rests_until - self._clock(), 0.0)

    def withdrew(self, name: str) -> None:
        """An admitted call did not come about, or says nothing about the model: let another one probe."""
        if circuit := self._circuits.get(name):
            circuit.probing = False
