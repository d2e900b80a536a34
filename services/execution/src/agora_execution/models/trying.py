"""Which model is tried next: the policy's order, past those that are left alone, and again while the run may retry."""

import asyncio
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
            models = [one for one in models if one in self._faults and self._faults[one].may_pass]
            pause = self._pause_seconds(models, round_number)
            if not models or pause is None:
                return
            await asyncio.sleep(pause)

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
        alone = [one for one in dict.fromkeys(self._left_alone) if one not in self._faults]
        if alone:
            told.append(f"{', '.join(alone)} failed again and again and is left alone for a while")
        if note:
            told.append(note)
        return ModelUnavailable("; ".join(told) or "No model was asked.")

    def _pause_seconds(self, models: Sequence[str], round_number: int) -> float | None:
        """How long to wait before the next round: what the vendor says, else longer each time; None is too long."""
        asked = [
            fault.after_seconds for one in models if (fault := self._faults[one]).after_seconds is not None
        ]
        if asked:
            return min(asked) if min(asked) <= _PAUSE_SECONDS_MAX else None
        # Jitter, so that those who failed together do not come again together.
        return float(_PAUSE_SECONDS * 2**round_number * random.uniform(0.5, 1.5))
