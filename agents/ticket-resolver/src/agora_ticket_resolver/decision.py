"""Resolve or hand over: the rules, in the order in which they are asked."""

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from agora_ticket_resolver.texts import folded

Reason = Literal[
    "security",
    "legal",
    "explicit_human_request",
    "policy",
    "negative_sentiment_high_priority",
    "low_confidence",
    "no_answer",
]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When a ticket goes to a person whatever the knowledge base says."""

    categories: Sequence[str] = ()
    customers: Collection[str] = ()
    phrases: Sequence[str] = ()
    confidence_min: float = 0.3
    evidence_min: float = 0.5
    sentiment_min: float = -0.4


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a ticket when it is decided."""

    text: str
    category: str
    confidence: float
    priority: str
    sentiment: float
    cues: Collection[str]
    customer_id: str | None
    evidence: float
    """How well the best passage answers, 0 to 1; 0 without one."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is None where the ticket is resolved; `detail` says why in a sentence for the operator."""

    reason: Reason | None
    detail: str
    praise: bool = False


def decide(facts: Facts, rules: Rules) -> Decision:
    """Hand over or resolve."""
    for reason, detail in _person_needed(facts, rules):
        if detail:
            return Decision(reason=reason, detail=detail)
    if _only_praise(facts):
        return Decision(reason=None, detail="The customer is content and asks for nothing.", praise=True)
    if facts.evidence < rules.evidence_min:
        return Decision(
            reason="no_answer",
            detail=f"No article answers it: the best match has {facts.evidence:.2f}, {rules.evidence_min:.2f} is needed.",
        )
    if facts.confidence < rules.confidence_min:
        return Decision(
            reason="low_confidence",
            detail=f"The category is only {facts.confidence:.0%} sure, {rules.confidence_min:.0%} is needed.",
        )
    return Decision(reason=None, detail=f"An article answers it ({facts.evidence:.2f}).")


def _person_needed(facts: Facts, rules: Rules) -> list[tuple[Reason, str]]:
    plain = folded(facts.text)
    phrase = next((one for one in rules.phrases if folded(one) in plain), None)
    policy = ""
    if facts.category.casefold() in {name.casefold() for name in rules.categories}:
        policy = f"Tickets of the category {facts.category} always go to a person."
    elif facts.customer_id is not None and facts.customer_id in rules.customers:
        policy = "Tickets of this customer always go to a person."
    elif phrase is not None:
        policy = f"Tickets that say {phrase!r} always go to a person."
    angry = facts.priority in ("high", "urgent") and facts.sentiment <= rules.sentiment_min
    return [
        ("security", "It may be a security incident." if "security" in facts.cues else ""),
        ("legal", "It mentions legal steps or data protection law." if "legal" in facts.cues else ""),
        ("explicit_human_request", "The customer asks for a person." if "human" in facts.cues else ""),
        ("policy", policy),
        (
            "negative_sentiment_high_priority",
            f"The customer is upset ({facts.sentiment:+.2f}) about something of priority {facts.priority}."
            if angry
            else "",
        ),
    ]


def _only_praise(facts: Facts) -> bool:
    trouble = {"problem", "blocked", "outage", "money", "repeated", "question", "urgent_word"}
    return (
        "thanks" in facts.cues
        and facts.sentiment > 0.05
        and "?" not in facts.text
        and not trouble & set(facts.cues)
    )
