"""Interleaved pairs: A B, B A, A B, …, so that a machine that drifts drifts for both sides."""

import statistics
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

PAIRS_MIN = 5


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Rates per second of both sides, pair by pair."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours divided by theirs, pair by pair."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def line(self, bench: str, **more: Any) -> dict[str, Any]:
        """What is printed: median ratio, its least and greatest, how many pairs, and both medians."""
        return {
            "bench": bench,
            "ratio": round(statistics.median(self.ratios), 3),
            "spread": [round(min(self.ratios), 3), round(max(self.ratios), 3)],
            "pairs": len(self.ratios),
            "ours_per_second": round(statistics.median(self.ours), 1),
            "theirs_per_second": round(statistics.median(self.theirs), 1),
            **more,
        }


async def interleave(
    ours: Callable[[], Awaitable[float]],
    theirs: Callable[[], Awaitable[float]],
    *,
    pairs: int,
    say: Callable[[str], None],
) -> Pairs:
    """Measure both sides in alternating order; each call returns a rate per second."""
    if pairs < PAIRS_MIN:
        raise ValueError(f"at least {PAIRS_MIN} pairs are needed, not {pairs}")
    measured: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(pairs):
        order = (("ours", ours), ("theirs", theirs))
        for side, measure in order if number % 2 == 0 else reversed(order):
            measured[side].append(await measure())
        a, b = measured["ours"][-1], measured["theirs"][-1]
        say(f"pair {number + 1} of {pairs}: {a:.1f}/s against {b:.1f}/s, ratio {a / b:.3f}")
    return Pairs(**measured)
