"""From found passages to the few sentences that answer: each is weighed by words, meaning and kind."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import msgspec

from agora_knowledge_base import questions, terms
from agora_knowledge_base.passages import Passage, Unit
from agora_knowledge_base.questions import Wanted
from agora_knowledge_base.retrieval import Candidate
from agora_knowledge_base.terms import Language

SHORTLIST = 14
"""How many sentences are compared with the question by meaning: each costs an embedding."""

FOLLOWERS_MAX = 12
"""How many items of a list are quoted with the sentence that leads to them."""

ACTION_SAID_MAX = 0.3

TITLE_CHARACTERS_MAX = 120

NEAR_BEST, NEAR_BEST_BESIDE = 0.72, 0.5
"""A further sentence must come this near to the best one's score; one that stands beside it, less near."""

NAMES_MISSING = 0.4
"""What a sentence loses if none of the names and numbers asked for stands in or near it."""

KIND_MISSING = 0.75
"""What remains of a sentence's score if it has no number where one is asked for, no time, no person."""

NEW_WORDS_MIN = 0.12
"""Or add this share of the question's words, weighed, that no chosen sentence has."""

IN_LEAD, IN_HEADING, IN_NEIGHBOUR, IN_PASSAGE, IN_NAME = 0.8, 0.7, 0.5, 0.35, 0.4
"""What a word counts that stands not in the sentence itself but near it."""

ALIKE_FROM, ALIKE_FULL, ALIKE_MOST = 0.48, 0.8, 0.8
"""Two words count as alike from the first cosine on, growing to the second, where they count `ALIKE_MOST`."""

type Similarity = Callable[[str, Sequence[str]], Awaitable[list[float]]]
"""Cosines of texts to a query."""

_LEANS_BACK = re.compile(r"(?:it|they|this|these|those|he|she|otherwise|then|such)\b", re.IGNORECASE)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the answer, with the units before or after that it needs to be understood.

    `units` stand in the source's order; `score` is 0 to 1.
    """

    source: str
    headings: list[str]
    units: list[Unit]
    score: float


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks for and against that the chosen sentences answer the question; each from 0 to 1.

    `covered` is the share of the question's words, weighed, that the best sentence has or has near it;
    `said` those that the sentence itself has; `around` those in its passage, headings and file name.
    `meaning` and `passage_meaning` are cosines of the best sentence and passage. `lacking` is the share of
    names, numbers and identifiers asked for that the passage does not have, `numbers` is 1 if it
    lacks a number that names something, `unknown` the share of words that no passage has. `gap` is the weight of the word that the best
    sentence accounts for least. `kind` is how well the sentences hold the kind of
    thing that is asked for. `pull` is how much nearer the word that the sentence lacks most brings the question
    to it, by the cosine.
    """

    covered: float
    said: float
    around: float
    meaning: float
    passage_meaning: float
    lacking: float
    numbers: float
    gap: float
    unknown: float
    kind: float
    pull: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Weighed:
    """One unit in its passage, with the share of each wanted term that it accounts for."""

    candidate: Candidate
    position: int
    shares: dict[str, float]
    said: float = 0.0
    covered: float = 0.0
    meaning: float = 0.0
    kind: float = 1.0
    score: float = 0.0
    words: frozenset[str] = field(default_factory=frozenset)
    near: dict[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> Unit:
        return self.candidate.passage.units[self.position]


async def weigh(
    query: str,
    wanted: Wanted,
    candidates: Sequence[Candidate],
    similarity: Similarity,
    *,
    language: Language,
    most: int,
) -> tuple[list[Statement], Signals | None]:
    """The statements that answer best, at most `most`, best first; none where nothing was found."""
    total = sum(wanted.terms.values())
    weighed = [one for candidate in candidates for one in _units(candidate, wanted, language, total)]
    if not weighed:
        return [], None
    weighed = _once_each(weighed)
    weighed.sort(key=lambda one: -_before_meaning(one))
    shortlist = weighed[:SHORTLIST]
    await _count_alike(wanted, shortlist, similarity, language, total)
    cosines = await similarity(query, [_in_context(one) for one in shortlist])
    for one, cosine in zip(shortlist, cosines, strict=True):
        one.meaning = min(max(cosine, 0.0), 1.0)
        one.score = _score(one, wanted)
    shortlist.sort(key=lambda one: -one.score)
    chosen = _choose(shortlist, wanted, total, most)
    statements = [_statement(one, wanted) for one in chosen]
    signals = _signals(chosen, wanted, candidates, total, language)
    pull = await _pull(query, wanted, chosen[0], similarity, language)
    return _without_repeats(statements), msgspec.structs.replace(signals, pull=pull)


def _units(candidate: Candidate, wanted: Wanted, language: Language, total: float) -> list[_Weighed]:
    passage = candidate.passage
    own = [frozenset(terms.of_text(unit.text, language)) for unit in passage.units]
    headings = frozenset(terms.of_text(passage.title, language))
    name = frozenset(terms.of_text(PurePosixPath(passage.source).stem, language))
    everywhere = frozenset().union(*own)
    found = []
    for position, unit in enumerate(passage.units):
        lead = _lead(passage, position)
        lead_words = own[lead] if lead is not None else frozenset()
        before = own[position - 1] if position else frozenset()
        places = (
            (own[position], 1.0),
            (lead_words, IN_LEAD),
            (headings, IN_HEADING),
            (before, IN_NEIGHBOUR),
            (name, IN_NAME),
            (everywhere, IN_PASSAGE),
        )
        shares = {
            term: next((share for words, share in places if term in words), 0.0) for term in wanted.terms
        }
        found.append(
            _Weighed(
                candidate=candidate,
                position=position,
                shares=shares,
                said=_share_of(wanted.terms, {term: float(term in own[position]) for term in shares}, total),
                covered=_share_of(wanted.terms, shares, total),
                kind=questions.could_answer(wanted.expects, wanted.question, unit.text),
                words=own[position],
                near=dict(shares),
            )
        )
    return found


async def _pull(
    query: str, wanted: Wanted, best: _Weighed, similarity: Similarity, language: Language
) -> float:
    """How much the question's least accounted word draws it to the sentence, or, below zero, away from it.

    Another word for what the sentence says ("vacation" for its "holiday") draws towards it; a word for what it
    does not say ("breakfast", where it speaks of dinner) leads away.
    """
    own = {term: float(term in best.words) or best.near[term] for term in wanted.terms}
    lacking = max(wanted.terms, key=lambda term: wanted.terms[term] * (1 - own[term]), default=None)
    if lacking is None or own[lacking] >= IN_HEADING:
        return 0.0
    rest = [token for token in terms.tokens(query) if lacking not in terms.of_token(token, language)]
    if not rest:
        return 0.0
    (without,) = await similarity(" ".join(rest), [_in_context(best)])
    return best.meaning - without


async def _count_alike(
    wanted: Wanted, shortlist: Sequence[_Weighed], similarity: Similarity, language: Language, total: float
) -> None:
    """Count words of like meaning: a sentence on holidays speaks of vacation."""
    words = [_words_of(one.unit.text, language) for one in shortlist]
    vocabulary = sorted(frozenset().union(*words))
    for term, word in wanted.words.items():
        if term in wanted.specific or not vocabulary:
            continue
        alike = dict(zip(vocabulary, await similarity(word, vocabulary), strict=True))
        for one, own in zip(shortlist, words, strict=True):
            best = max((alike[other] for other in own), default=0.0)
            share = ALIKE_MOST * min(max((best - ALIKE_FROM) / (ALIKE_FULL - ALIKE_FROM), 0.0), 1.0)
            one.shares[term] = max(one.shares[term], share)
    for one in shortlist:
        one.covered = _share_of(wanted.terms, one.shares, total)


def _words_of(text: str, language: Language) -> frozenset[str]:
    """The words of a sentence that carry meaning, as they are written but for case."""
    stop = terms.stop_words(language)
    return frozenset(
        token.lower() for token in terms.tokens(text) if token.isalpha() and token.lower() not in stop
    )


def _share_of(weights: Mapping[str, float], shares: Mapping[str, float], total: float) -> float:
    return sum(weight * shares[term] for term, weight in weights.items()) / total if total else 0.0


def _lead(passage: Passage, position: int) -> int | None:
    """The sentence that leads to an item of a list, a row or code: the last text before it."""
    if passage.units[position].kind == "text":
        return None
    for earlier in range(position - 1, -1, -1):
        if passage.units[earlier].kind == "text":
            return earlier
    return None


def _once_each(weighed: list[_Weighed]) -> list[_Weighed]:
    """Passages overlap by a sentence: the copy with more around it that fits is kept."""
    best: dict[str, _Weighed] = {}
    for one in weighed:
        held = best.get(one.unit.id)
        if held is None or one.covered + one.candidate.score > held.covered + held.candidate.score:
            best[one.unit.id] = one
    return list(best.values())


def _before_meaning(one: _Weighed) -> float:
    return 0.6 * one.covered + 0.4 * one.candidate.score + 0.05 * one.kind


def _score(one: _Weighed, wanted: Wanted) -> float:
    score = 0.35 * one.covered + 0.10 * one.said + 0.35 * one.meaning + 0.20 * one.candidate.score
    if wanted.specific:
        absent = sum(one.shares[term] < _nearest_enough(term) for term in wanted.specific) / len(
            wanted.specific
        )
        score *= 1 - NAMES_MISSING * absent
    return score * (KIND_MISSING + (1 - KIND_MISSING) * one.kind)


def _nearest_enough(term: str) -> float:
    """A number must stand in the sentence or above it; that its neighbour has it means the neighbour is meant."""
    return IN_HEADING if any(map(str.isdigit, term)) else IN_PASSAGE


def _in_context(one: _Weighed) -> str:
    """A sentence under its headings: "Within 30 days." alone says little."""
    title = one.candidate.passage.title
    return f"{title[-TITLE_CHARACTERS_MAX:]}: {one.unit.text}" if title else one.unit.text


def _choose(ranked: list[_Weighed], wanted: Wanted, total: float, most: int) -> list[_Weighed]:
    """The best sentence, and others that say as much or answer what it leaves open."""
    chosen = [ranked[0]]
    for one in ranked[1:]:
        if len(chosen) == most:
            break
        near = NEAR_BEST if not _beside(one, chosen[0]) else NEAR_BEST_BESIDE
        if one.score < near * ranked[0].score or _says_the_same(one, chosen):
            continue
        new = sum(
            weight * max(0.0, one.shares[term] - max(other.shares[term] for other in chosen))
            for term, weight in wanted.terms.items()
        )
        if total and new / total >= NEW_WORDS_MIN:
            chosen.append(one)
    return chosen


def _beside(one: _Weighed, other: _Weighed) -> bool:
    return one.candidate is other.candidate and abs(one.position - other.position) == 1


def _says_the_same(one: _Weighed, chosen: Sequence[_Weighed]) -> bool:
    return any(
        len(one.words & other.words) > 0.8 * max(1, min(len(one.words), len(other.words))) for other in chosen
    )


def _statement(one: _Weighed, wanted: Wanted) -> Statement:
    passage, position = one.candidate.passage, one.position
    units = passage.units
    first = last = position
    if units[position].text.endswith(":"):
        while last + 1 < len(units) and last - position < FOLLOWERS_MAX and units[last + 1].kind != "text":
            last += 1
    elif position and units[position].kind == "text" and _LEANS_BACK.match(units[position].text):
        first = position - 1
    if wanted.expects == "action" and last == position and units[position].kind != "row":
        if one.said < ACTION_SAID_MAX and one.covered - one.said > ACTION_SAID_MAX:
            # The heading names what is to be done, so the section says how from its beginning.
            first, last = min(first, max(0, position - 2)), max(last, min(2, len(units) - 1))
        else:
            # What to do often stands in the sentence after the one that names the problem.
            last = min(last + 1, len(units) - 1)
    return Statement(
        source=passage.source,
        headings=passage.headings,
        units=units[first : last + 1],
        score=round(min(max(one.score, 0.0), 1.0), 4),
    )


def _without_repeats(statements: list[Statement]) -> list[Statement]:
    """A unit is quoted once, and what stands side by side in the source is one statement."""
    seen: set[str] = set()
    kept: list[Statement] = []
    for statement in statements:
        fresh = [unit for unit in statement.units if unit.id not in seen]
        seen.update(unit.id for unit in fresh)
        if not fresh:
            continue
        for position, earlier in enumerate(kept):
            if fresh[0].follows == earlier.units[-1].id:
                kept[position] = msgspec.structs.replace(earlier, units=[*earlier.units, *fresh])
                break
            if earlier.units[0].follows == fresh[-1].id:
                kept[position] = msgspec.structs.replace(earlier, units=[*fresh, *earlier.units])
                break
        else:
            kept.append(msgspec.structs.replace(statement, units=fresh))
    return kept


def _signals(
    chosen: Sequence[_Weighed],
    wanted: Wanted,
    candidates: Sequence[Candidate],
    total: float,
    language: Language,
) -> Signals:
    best = chosen[0]
    passage = best.candidate.passage
    around = frozenset(terms.of_text(f"{passage.source} {passage.searched}", language))
    specific = sum(wanted.terms[term] for term in wanted.specific)
    lacking = sum(wanted.terms[term] for term in wanted.specific if term not in around)
    unknown = sum(wanted.terms.get(term, 0.0) for term in wanted.unknown)
    numbers = [term for term in wanted.specific if any(map(str.isdigit, term))]
    gaps = [weight * (1 - best.shares[term]) for term, weight in wanted.terms.items()]
    return Signals(
        covered=best.covered,
        said=best.said,
        around=_share_of(wanted.terms, {term: float(term in around) for term in wanted.terms}, total),
        meaning=best.meaning,
        passage_meaning=min(max(max(candidate.meaning for candidate in candidates), 0.0), 1.0),
        lacking=lacking / specific if specific else 0.0,
        numbers=float(any(term not in around for term in numbers)),
        gap=min(max(gaps, default=0.0) / total, 1.0) if total else 1.0,
        unknown=unknown / total if total else 1.0,
        kind=max(one.kind for one in chosen),
    )
