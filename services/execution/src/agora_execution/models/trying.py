"""Which model is tried next: the policy's order, past those that are left alone, and again while the run may retry."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence

from agora.errors import ModelUnavailable
from agora.models.breaker import Breakers
from agora.models.faults import VendorFault

from agora_execution.models.access import Access

ROUNDS_MAX = 3
"""How often the models of a call are gone through: the first time, and again those whose fault may have passed."""

_PAUSE_SECONDS = 0.5
_PAUSE_SECONDS_MAX = 10.0


class Tries:
    """The tries of one call. Whoever takes one tells `failed` of a fault; a try that brings a reply is the last.

    Args:
        models: in the order in which they are asked.
    """

    def __init__(self, models: Sequence[str], access: Access, breakers: Breakers) -> None:
        self._models = models
        self._access = access
        self._breakers = breakers
        self._faults: dict[str, VendorFault] = {}
        self._left_alone: list[str] = []

    async def __aiter__(self) -> AsyncIterator[str]:
        """The next model to try; ends when there is none any more."""
        models = list(self._models)
        for round_number in range(ROUNDS_MAX):
            for model in models:
                if not self._breakers.admits(self._access.circuit(model)):
                    self._left_alone.append(model)
                    continue
                yield model
                fault = self._faults.get(model)
                if fault is not None and fault.output_begun:
                    # Part of the answer was handed on: another one cannot take its place.
                    return
            models = [one for one in models if self._may_answer_later(one)]
            pause = self._pause_seconds(models, round_number)
            if not models or pause is None:
                return
            await asyncio.sleep(pause)

    def _may_answer_later(self, model: str) -> bool:
        """Whether waiting may help: its fault may pass, or its vendor has asked, also another call, for a pause."""
        fault = self._faults.get(model)
        return self._rests_seconds(model) > 0 if fault is None else fault.may_pass

    def _rests_seconds(self, model: str) -> float:
        return self._breakers.rests_seconds(self._access.circuit(model))

    def succeeded(self, model: str) -> None:
        """The model has answered."""
        self._breakers.succeeded(self._access.circuit(model))

    def failed(self, model: str, fault: VendorFault) -> None:
        """The model has not answered as it should."""
        self._faults[model] = fault
        circuit = self._access.circuit(model)
        if fault.speaks_against_model:
            self._breakers.failed(circuit, fault.after_seconds)
        else:
            self._breakers.withdrew(circuit)

    def withdrew(self, model: str) -> None:
        """The model was not asked after all."""
        self._breakers.withdrew(self._access.circuit(model))

    def failure(self, note: str = "") -> ModelUnavailable:
        """Why there is no reply."""
        told = [str(fault) for fault in self._faults.values()]
        for one in dict.fromkeys(self._left_alone):
            if one in self._faults:
                continue
            rests = self._rests_seconds(one)
            told.append(
                f"{one} failed again and again and is left alone for a while"
                if not rests
                else f"{one} is asked too often: its vendor wants a pause of {math.ceil(rests)} seconds more"
            )
        if note:
            told.append(note)
        return ModelUnavailable("; ".join(told) or "No model was asked.")

    def _pause_seconds(self, models: Sequence[str], round_number: int) -> float | None:
        """How long to wait before the next round: what the vendor says, else longer each time; None is too long."""
        asked = [rests for one in models if (rests := self._rests_seconds(one))]
        if asked:
            # A little longer, and not all at once: those who were told together would come together.
            return min(asked) * random.uniform(1.0, 1.2) + 0.01 if min(asked) <= _PAUSE_SECONDS_MAX else None
        # Jitter, so that those who failed together do not come again together.
        return float(_PAUSE_SECONDS * 2**round_number * random.uniform(0.5, 1.5))
