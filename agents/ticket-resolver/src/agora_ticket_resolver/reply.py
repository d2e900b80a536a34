"""The draft of an answer: our own sentences in the customer's language, around quotations from articles."""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources

import msgspec

from agora_ticket_resolver.articles import Passage
from agora_ticket_resolver.decision import Decision

SORRY_BELOW = -0.3


class Phrases(msgspec.Struct, frozen=True, kw_only=True):
    """The sentences of one language; `{title}` stands for an article's title."""

    greeting: str
    thanks: str
    sorry: str
    answer: str
    also: str
    foreign: str
    ask_back: str
    praise: str
    forwarded: str
    forwarded_soon: str
    security: str
    closing: str


def languages() -> tuple[str, ...]:
    """The languages that replies can be written in."""
    return tuple(_phrases())


def draft(
    decision: Decision,
    quoted: Sequence[Passage],
    *,
    language: str,
    article_language: str,
    sentiment: float,
    pressing: bool,
) -> str:
    """The whole reply; where the ticket is handed over, it promises a person and nothing else."""
    said = _phrases().get(language) or _phrases()["en"]
    opening = said.sorry if sentiment < SORRY_BELOW else said.thanks
    if decision.praise:
        parts = [said.praise]
    elif decision.reason is not None:
        parts = [opening, _sentence(said.forwarded_soon if pressing else said.forwarded)]
        if decision.reason == "security":
            parts.append(said.security)
    else:
        parts = [opening, *_quotations(said, quoted)]
        if article_language != language and language in _phrases():
            parts.append(said.foreign)
        parts.append(said.ask_back)
    return "\n\n".join([f"{said.greeting}\n\n{parts[0]}", *parts[1:], said.closing])


def worded(answer: str, *, language: str, sentiment: float) -> str:
    """A reply around an answer that a model worded."""
    said = _phrases().get(language) or _phrases()["en"]
    opening = said.sorry if sentiment < SORRY_BELOW else said.thanks
    return "\n\n".join([said.greeting, opening, answer, said.ask_back, said.closing])


def _quotations(said: Phrases, quoted: Sequence[Passage]) -> list[str]:
    parts = []
    for number, passage in enumerate(quoted):
        if number == 0 or passage.source != quoted[0].source:
            lead = said.answer if number == 0 else said.also
            parts.append(lead.replace("{title}", passage.title))
        parts.append(passage.text.strip())
    return parts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _phrases() -> dict[str, Phrases]:
    raw = resources.files(__package__).joinpath("data/replies.toml").read_bytes()
    return msgspec.convert(tomllib.loads(raw.decode()), dict[str, Phrases])
