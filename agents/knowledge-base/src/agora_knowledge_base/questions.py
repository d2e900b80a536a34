"""What a question asks for: its parts, its terms and their weight, and the kind of answer it expects."""

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from agora_knowledge_base import terms
from agora_knowledge_base.terms import Language

PARTS_MAX = 4
UNKNOWN_WEIGHT = 0.5

Expects = Literal["number", "time", "money", "person", "phone", "mail", "reason", "action", "anything"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is asked. `context` are words of earlier parts that this one leaves out."""

    text: str
    context: str = ""

    @property
    def whole(self) -> str:
        """The part with the words it leaves out: what search is given."""
        return f"{self.context} {self.text}".strip()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A part's terms with their weights, and the word that each comes from.

    `specific` terms are names, numbers and identifiers; `unknown` ones stand in no passage.
    """

    question: str
    terms: dict[str, float]
    words: dict[str, str]
    specific: frozenset[str]
    unknown: frozenset[str]
    expects: Expects


_WH = r"(?:what|who|whom|whose|when|where|why|how|which|is|are|can|could|do|does|did|will|should|must|may)"
_SENTENCES = re.compile(r"(?<=[?!])\s+|(?<=[a-z)][.;])\s+(?=[A-Z])|\n+")
_CLAUSES = re.compile(
    rf"(?:\s*[,;]\s*(?:and|or|but)?|\s+and|\s+as well as)\s+(?=(?:also\s+)?{_WH}\s)", re.IGNORECASE
)
_STARTS = re.compile(rf"\W*(?:and|also|or|so|then|please|tell me|do you know)?\W*{_WH}\b", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|that|those|these|this|he|she|one|ones)\b", re.IGNORECASE
)
_QUOTED = re.compile(r"[\"\u201c\u201d`']([^\"\u201c\u201d`']{2,100})[\"\u201c\u201d`']")

_EXPECTS: tuple[tuple[Expects, re.Pattern[str]], ...] = (
    ("phone", re.compile(r"\b(?:(?:phone|telephone|fax|mobile|hotline)(?: line)? number|(?:what|which) number .*\bcall)\b", re.IGNORECASE)),
    ("mail", re.compile(r"\be-?mail address\b|\b(?:what|which)\b.*\be-?mail\b", re.IGNORECASE)),
    ("action", re.compile(r"\b(?:how (?:do|can|should|would|must|could) (?:i|we|you|one|customers?|users?|employees?)|how to|what (?:can|should|must|do|shall) (?:i|we|you|one) (?:do|change|try|check)|what to do)\b", re.IGNORECASE)),
    ("time", re.compile(r"\b(?:when|how (?:long|soon|often|quickly|fast|late|early)|(?:what|which) (?:date|day|year|month|time|hours?|deadline)|how many (?:\w+ )?(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?|times))\b", re.IGNORECASE)),
    ("money", re.compile(r"\b(?:how much (?:does|do|is|are|will|would|did|must|should) .*(?:cost|pay|charge|fee|price)|how much (?:is|are) (?:the|a|an|your|one)\b|(?:what|which) .{0,40}\b(?:price|cost|fee|fees|rate|salary|budget|charge))\b", re.IGNORECASE)),
    ("number", re.compile(r"\b(?:how (?:many|much|large|big|high|far|old|tall|deep|heavy|hot|cold|fast|wide)|(?:what|which) (?:\w+ )?(?:number|percentage|percent|share|limit|size|version|port|rate|amount|quota|maximum|minimum|age|weight|height|length|temperature|score))\b", re.IGNORECASE)),
    ("person", re.compile(r"\b(?:who|whom|whose)\b", re.IGNORECASE)),
    ("reason", re.compile(r"\bwhy\b|\bwhat (?:caused|causes|is the (?:reason|cause)|was the (?:reason|cause))\b|\bhow come\b", re.IGNORECASE)),
)  # fmt: skip


def parts(query: str, language: Language = "en") -> list[Part]:
    """The things that a query asks, at most four; a query that asks one is one part."""
    pieces = [piece.strip() for whole in _SENTENCES.split(query) for piece in _CLAUSES.split(whole)]
    asked: list[str] = []
    for piece in pieces:
        if not piece:
            continue
        # A statement before a question ("I bought it in May.") belongs to the question.
        if (asked and not _STARTS.match(asked[-1]) and len(pieces) > 1) or (
            asked and not _STARTS.match(piece)
        ):
            asked[-1] = f"{asked[-1]} {piece}"
        else:
            asked.append(piece)
    if len(asked) > PARTS_MAX or len(asked) < 2:
        return [Part(text=query.strip())]
    found = [Part(text=asked[0])]
    for piece in asked[1:]:
        needs = _POINTS_BACK.search(piece) or len(terms.of_text(piece, language)) < 2
        found.append(Part(text=piece, context=asked[0] if needs else ""))
    return found


def wanted(
    part: Part,
    language: Language,
    *,
    knows: Callable[[str], bool],
    corrected: Callable[[str], str | None],
    idf: Callable[[str], float],
) -> Wanted:
    """The terms of a part, each weighed by how rare it is where it is searched.

    Args:
        part: The part.
        language: The language of its words.
        knows: Whether any passage has a term.
        corrected: The word that an unknown word was meant to be, if there is one near.
        idf: How rare a term is.
    """
    weights: dict[str, float] = {}
    words: dict[str, str] = {}
    specific: set[str] = set()
    unknown: set[str] = set()
    for text, share in ((part.text, 1.0), (part.context, 0.5)):
        named = _named(text)
        # "How long" asks for a time, which `expects` knows; the word itself is seldom in the answer.
        for token in terms.tokens(_HOW.sub("how", text)):
            found, better = terms.of_token(token, language), None
            if found and not any(map(knows, found)):
                better = None if token in named and token.isupper() else corrected(token.lower())
                found = terms.of_token(better, language) if better else found
                unknown.update(found if better is None else ())
            for term in found:
                if share == 1.0 and token in named:
                    specific.add(term)
                # An unknown common word is most likely another word for something the sources do name.
                weight = (
                    share * idf(term) * (UNKNOWN_WEIGHT if term in unknown and token not in named else 1.0)
                )
                weights[term] = max(weights.get(term, 0.0), weight)
                if token.isalpha():
                    words.setdefault(term, (better or token).lower())
    return Wanted(
        question=part.text,
        terms=weights,
        words=words,
        specific=frozenset(specific),
        unknown=frozenset(unknown),
        expects=expects(part.text),
    )


def expects(question: str) -> Expects:
    """The kind of answer that a question's words ask for."""
    return next((kind for kind, pattern in _EXPECTS if pattern.search(question)), "anything")


_YEAR = re.compile(r"(?:19|20)\d\d")
_NUMBERED_THINGS = frozenset(
    (
        "article", "chapter", "class", "code", "day", "error", "figure", "firmware", "form", "grade",
        "incident", "level", "line", "model", "no", "number", "page", "paragraph", "phase", "port",
        "release", "room", "rule", "section", "step", "table", "ticket", "tier", "type", "v", "version",
    )
)  # fmt: skip


def _names_something(number: str, before: str) -> bool:
    """Whether a number is a name ("Route 66", "error 404", a year) and no quantity ("66 days")."""
    if not number.replace(".", "").isdigit():
        return True
    return bool(_YEAR.fullmatch(number)) or before.lower() in _NUMBERED_THINGS or before[:1].isupper()


_HOW = re.compile(r"\bhow\s+(?:long|fast|quick(?:ly)?|soon|late|early|far|old|large|high)\b", re.IGNORECASE)


def _named(text: str) -> set[str]:
    """Tokens that mean one thing only: names, numbers, identifiers, and what stands in quotes."""
    named = {token for quoted in _QUOTED.findall(text) for token in terms.tokens(quoted)}
    before = ""
    for position, token in enumerate(terms.tokens(text)):
        if any(map(str.isdigit, token)):
            name = _names_something(token, before if position > 1 or not _STARTS.match(before) else "")
        else:
            # "zone B" names something; "I" and "A" are words.
            name = "_" in token or (token[1:] != "" and not token[1:].islower())
            name = name or bool(position and token[0].isupper() and token not in ("I", "A"))
        if name:
            named.add(token)
        before = token
    return named


_KINDS: dict[Expects, re.Pattern[str]] = {
    "phone": re.compile(r"(?:\+|\b)\d[\d ()/.-]{4,}\d"),
    "mail": re.compile(r"\S@\S+\.\w"),
    "number": re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|ninety|hundred|thousand|million|half|twice|dozen|unlimited|no limit|none|zero|once)\b", re.IGNORECASE),
    "money": re.compile(r"[$€£¥₹]|\b\d+[.,]\d\d\b|\b(?:price|cost|fee|rate|charge|salary|budget)\w*\W[^.;]{0,30}\d|\b(?:free|no charge|usd|eur|chf|gbp|dollars?|euros?|pounds?|cents?)\b", re.IGNORECASE),
    "time": re.compile(r"\d|\b(?:seconds?|minutes?|hours?|days?|weeks?|months?|quarters?|years?|daily|weekly|monthly|quarterly|yearly|annually|nightly|hourly|today|tomorrow|immediately|instantly|never|always|once|twice|monday|tuesday|wednesday|thursday|friday|saturday|sunday|january|february|march|april|may|june|july|august|september|october|november|december|noon|midnight|morning|evening|before|after|until|as soon as|end of)\b", re.IGNORECASE),
    "person": re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]+|@|\b(?:team|manager|officer|lead|director|department|staff|engineer|admin(?:istrator)?s?|owner|user|customer|everyone|anyone|nobody|employees?|members?|head|chief|author|support|committee|board|president|librarian|nurse|doctor)\b"),
    "reason": re.compile(r"\b(?:because|since|so that|due to|in order|to (?:avoid|keep|prevent|make|protect|ensure|reduce)|reason|therefore|otherwise|cause[sd]?|why|as a result|this way)\b", re.IGNORECASE),
}  # fmt: skip


_MEASURES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(rf"\bhow (?:{asked})\b", re.IGNORECASE), re.compile(rf"(?:{named})", re.IGNORECASE))
    for asked, named in (
        ("deep", r"\bdeep|\bdepth"),
        ("heavy", r"\bheav|\bweigh|\d\s?(?:kg|g|lbs?|oz|t)\b|kilo|gram|tonne|pound|\bton"),
        ("tall|high", r"\btall|\bhigh|\bheight|\d\s?(?:cm|mm|m|ft|in)\b|metre|meter|feet"),
        ("wide|broad", r"\bwide|\bwidth|\bbroad|\d\s?(?:cm|mm|m|ft|in)\b"),
        ("hot|cold|warm|cool", r"\btemperature|\bdegree|°|\bhot|\bcold|\bwarm|\bcool|celsius|fahrenheit"),
        (
            "old",
            r"\bage|\bold|\bage[sd]?\b|\byears?\b|\bmonths?\b|\bsince\b|\b(?:1[89]|20)\d\d\b|\bunder\b|\bolder",
        ),
        ("far", r"\bfar\b|\bdistan|\d\s?(?:km|m|mi)\b|kilomet|metre|meter|\bmiles?\b"),
        ("loud|noisy", r"\bdb\b|decibel|\bnois|\bloud|\bsound"),
    )
)
_COUNTED = re.compile(r"\bhow many (\w+(?: \w+)?)", re.IGNORECASE)
_COUNT = r"(?:\d[\d.,]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|no|one|unlimited)"
HALF = 0.5


def could_answer(expected: Expects, question: str, text: str) -> float:
    """How well a text holds the kind of thing that is asked for: 0 for not at all, 1 for well.

    "How many users" is answered best by "25 users" or "users: 25", half by any other number.
    """
    pattern = _KINDS.get(expected)
    if expected == "anything" or pattern is None:
        return 1.0
    if pattern.search(text) is None:
        return HALF if expected == "reason" else 0.0
    for asked, named in _MEASURES:
        if asked.search(question):
            return 1.0 if named.search(text) else HALF / 2
    if counted := _COUNTED.search(question):
        stop = terms.stop_words("en")
        nouns = [word.lower().removesuffix("s") for word in counted[1].split() if word.lower() not in stop]
        return 1.0 if any(_counts(noun, text) for noun in nouns) else HALF
    return 1.0


def _counts(noun: str, text: str) -> bool:
    named = re.escape(noun)
    before = rf"\b{_COUNT}\W+(?:[\w-]+\W+){{0,3}}?{named}"
    after = rf"\b{named}\w*\W{{1,3}}(?:\w+\W+){{0,2}}?{_COUNT}\b"
    return re.search(f"{before}|{after}", text, re.IGNORECASE) is not None
