"""How often a failed step is tried again, by the name that its `@agora.step` gives."""

from dataclasses import dataclass
from typing import Literal

PolicyName = Literal["none", "default", "patient"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Attempts in all (the first included) and the waits between them, in seconds."""

    attempts_max: int
    first_delay_seconds: float
    factor: float
    delay_seconds_max: float

    def delay_seconds(self, attempt: int) -> float:
        """The wait after the failed `attempt` (1 for the first), before the next one."""
        return min(self.first_delay_seconds * self.factor ** (attempt - 1), self.delay_seconds_max)


POLICIES: dict[PolicyName, RetryPolicy] = {
    "none": RetryPolicy(attempts_max=1, first_delay_seconds=0, factor=1, delay_seconds_max=0),
    "default": RetryPolicy(attempts_max=3, first_delay_seconds=1, factor=2, delay_seconds_max=60),
    "patient": RetryPolicy(attempts_max=8, first_delay_seconds=2, factor=2, delay_seconds_max=60),
}
