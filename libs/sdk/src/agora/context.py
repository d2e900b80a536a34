"""What a step gets beside the state: who it is, what it may reach, and where it reports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from agora.ports import Files, Knowledge, Models

QUANTITY_MAX = Decimal(10) ** 15
QUANTITY_PLACES_MAX = 9


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Something countable that a step did. `quantity` is in the meter's own unit."""

    meter: str
    quantity: Decimal
    dimensions: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A live note for whoever watches; it is not kept. `fraction` is the part done, 0 to 1, if known."""

    message: str
    fraction: float | None = None


def _ignore_progress(progress: Progress) -> None:
    """Nobody watches."""


@dataclass(slots=True, kw_only=True)
class Context:
    """A step's surroundings during one attempt.

    `step_id` is the same for every attempt; `attempt` counts from 1. `prepared` is what the agent's `load`
    made, shared by all runs of a process: read it only. `recorded` is the usage of this attempt; it counts
    only if the attempt succeeds.
    """

    run_id: str
    step_id: str
    attempt: int
    config: Any
    prepared: Any
    files: Files
    knowledge: Knowledge
    models: Models
    on_progress: Callable[[Progress], None] = _ignore_progress
    recorded: list[Usage] = field(default_factory=list)

    @property
    def mode(self) -> Literal["baseline", "assisted"]:
        """ "assisted" where a model can be asked, else "baseline"."""
        return "assisted" if self.models.available else "baseline"

    def usage(self, meter: str, quantity: int | Decimal | str, **dimensions: str) -> None:
        """Record that `quantity` units of `meter` were used. Never a float: it would bill a rounding error.

        Raises:
            TypeError: the quantity is a float or a bool, or a dimension is not a string.
            ValueError: it is no number, negative, too large, or finer than nine decimal places.
        """
        if not meter:
            raise ValueError("A usage needs the name of its meter.")
        for name, value in dimensions.items():
            if not isinstance(value, str):
                raise TypeError(f"The dimension {name!r} of meter {meter!r} must be a string, not {value!r}.")
        self.recorded.append(Usage(meter=meter, quantity=_exact(meter, quantity), dimensions=dimensions))

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell whoever watches how far this step is. Live only; it never fails the step."""
        bounded = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        self.on_progress(Progress(message=message, fraction=bounded))


@dataclass(slots=True, kw_only=True)
class PrepareContext:
    """What `prepare` may use while it writes a deployment's artifact.

    `artifact_id` names the result (a content hash): a good name for a collection in `knowledge`.
    """

    artifact_id: str
    files: Files
    knowledge: Knowledge
    on_progress: Callable[[Progress], None] = _ignore_progress

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell whoever watches how far the preparation is."""
        bounded = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        self.on_progress(Progress(message=message, fraction=bounded))


@dataclass(slots=True, kw_only=True)
class HealthContext:
    """What an agent's `health` may exercise: the ports that its manifest asks for."""

    knowledge: Knowledge
    models: Models


def _exact(meter: str, quantity: int | Decimal | str) -> Decimal:
    if isinstance(quantity, bool) or not isinstance(quantity, int | Decimal | str):
        raise TypeError(f"The quantity of {meter!r} must be an int, Decimal or string, not {quantity!r}.")
    try:
        exact = Decimal(quantity)
    except InvalidOperation as error:
        raise ValueError(f"The quantity of {meter!r} is no number: {quantity!r}.") from error
    if not exact.is_finite() or not 0 <= exact <= QUANTITY_MAX:
        raise ValueError(f"The quantity of {meter!r} must be from 0 to {QUANTITY_MAX}, not {quantity!r}.")
    places = -int(exact.as_tuple().exponent)
    if places > QUANTITY_PLACES_MAX:
        raise ValueError(f"The quantity of {meter!r} has more than {QUANTITY_PLACES_MAX} decimal places.")
    return exact
