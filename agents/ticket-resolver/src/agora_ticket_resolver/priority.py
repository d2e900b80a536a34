"""How pressing a ticket is, from its own words, and from a deployment's examples where they say so."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from agora_ticket_resolver.cues import FoundCue
from agora_ticket_resolver.labelled import PRIORITIES

Priority = Literal["low", "medium", "high", "urgent"]

# Above each bound begins the next level.
BOUNDS = (-0.35, 1.75, 3.9)
SOFTNESS = 0.8
CALM = -0.3
QUESTION = 0.8


class RatedPriority(msgspec.Struct, frozen=True, kw_only=True):
    """A level with its probabilities and the cues that spoke for it."""

    level: Priority
    shares: dict[str, float]
    reasons: list[str]


def rate(
    found: Sequence[FoundCue],
    sentiment: float,
    *,
    asks: bool = False,
    learnt: dict[str, float] | None = None,
    trust: float = 0.0,
) -> RatedPriority:
    """The level of a ticket.

    Args:
        found: What `cues.find` saw.
        sentiment: -1 to 1; anger weighs a little, politeness takes nothing away.
        asks: Whether it asks a question.
        learnt: Probability of each level from a classifier trained on the deployment's examples.
        trust: How much the learnt probabilities count against the cues, 0 to 1.
    """
    score = _score(found, sentiment, asks)
    shares = _shares(score)
    if learnt:
        shares = _mixed(shares, learnt, trust)
    # The level in the middle of the probability: one too high and one too low are equally bad.
    level = PRIORITIES[-1]
    total = 0.0
    for name in PRIORITIES:
        total += shares[name]
        if total >= 0.5:
            level = name
            break
    if learnt and trust >= 0.5:
        level = max(PRIORITIES, key=lambda name: shares[name])
    counted = sorted(found, key=lambda cue: -abs(cue.weight))
    return RatedPriority(
        level=msgspec.convert(level, Priority),
        shares={name: round(share, 4) for name, share in shares.items()},
        reasons=[cue.name for cue in counted if cue.weight][:5],
    )


def _score(found: Sequence[FoundCue], sentiment: float, asks: bool) -> float:
    weights = sorted((cue.weight for cue in found if cue.weight > 0), reverse=True)
    # The strongest counts whole; each further one says partly the same again.
    raised = sum(weight * 0.75**place for place, weight in enumerate(weights))
    lowered = sum(cue.weight for cue in found if cue.weight < 0 and cue.name != "question")
    # A question lowers only what nothing else raises: "how can I pay, I am locked out" is still a problem.
    if raised < 0.3 and sentiment > CALM:
        lowered -= QUESTION if any(cue.name == "question" for cue in found) else QUESTION * asks
    return raised + lowered + max(0.0, -sentiment - 0.25) * 1.2


def _shares(score: float) -> dict[str, float]:
    edges = [1 / (1 + math.exp(-(bound - score) / SOFTNESS)) for bound in BOUNDS]
    upper = [*edges, 1.0]
    lower = [0.0, *edges]
    return {name: high - low for name, high, low in zip(PRIORITIES, upper, lower, strict=True)}


def _mixed(cues: dict[str, float], learnt: dict[str, float], trust: float) -> dict[str, float]:
    logs = {
        name: (1 - trust) * math.log(max(cues[name], 1e-4))
        + trust * math.log(max(learnt.get(name, 0.0), 1e-4))
        for name in PRIORITIES
    }
    highest = max(logs.values())
    weights = {name: math.exp(value - highest) for name, value in logs.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
