"""Words to search terms: stems, numbers written as numbers, and identifiers both whole and in parts."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Literal

Language = Literal["en", "de", "fr", "es", "it", "nl", "pt", "sv", "no", "da", "fi", "ru"]

TOKEN_CHARACTERS_MAX = 64
"""A longer token is no word: base64, a hash in a log. It is left out."""

_STEMMERS = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "nl": "dutch",
    "pt": "portuguese", "sv": "swedish", "no": "norwegian", "da": "danish", "fi": "finnish", "ru": "russian",
}  # fmt: skip

_TOKEN = re.compile(r"\w+(?:[.\-/:@'’]\w+)*")
_PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_POSSESSIVE = re.compile(r"['’]s?\b")

_NUMBER_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20", "thirty": "30",
    "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "hundred": "100", "thousand": "1000", "million": "1000000", "percent": "%",
}  # fmt: skip

_IRREGULAR = dict(
    pair.split(":")
    for pair in (
        "lost:lose paid:pay sold:sell built:build bought:buy found:find held:hold kept:keep made:make "
        "sent:send spent:spend taught:teach told:tell took:take taken:take gone:go went:go wrote:write "
        "written:write broke:break broken:break chose:choose chosen:choose began:begin begun:begin ran:run "
        "stole:steal stolen:steal gave:give given:give drove:drive driven:drive knew:know known:know "
        "grew:grow grown:grow threw:throw thrown:throw wore:wear worn:wear brought:bring caught:catch "
        "came:come drew:draw drawn:draw drank:drink fell:fall fallen:fall felt:feel fought:fight "
        "forgot:forget forgotten:forget got:get gotten:get hid:hide hidden:hide heard:hear led:lead "
        "lent:lend met:meet rose:rise risen:rise said:say saw:see seen:see shown:show slept:sleep "
        "spoke:speak spoken:speak stood:stand swam:swim thought:think understood:understand won:win "
        "children:child people:person men:man women:woman feet:foot teeth:tooth mice:mouse better:good "
        "best:good worse:bad worst:bad frozen:freeze froze:freeze became:become bound:bind dealt:deal "
        "overridden:override overrode:override withdrawn:withdraw withdrew:withdraw ate:eat eaten:eat "
        "flew:fly flown:fly sung:sing sank:sink sunk:sink"
    ).split()
)
"""Forms that no stemmer brings together: lost and lose."""

_ENGLISH_STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "against",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "aren",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "cannot",
        "could",
        "couldn",
        "did",
        "didn",
        "do",
        "does",
        "doesn",
        "doing",
        "don",
        "down",
        "during",
        "each",
        "few",
        "for",
        "from",
        "further",
        "had",
        "hadn",
        "has",
        "hasn",
        "have",
        "haven",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "herself",
        "him",
        "himself",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "isn",
        "it",
        "its",
        "itself",
        "just",
        "let",
        "ll",
        "me",
        "more",
        "most",
        "my",
        "myself",
        "nor",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "ours",
        "ourselves",
        "out",
        "over",
        "own",
        "re",
        "s",
        "same",
        "shall",
        "she",
        "should",
        "shouldn",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "the",
        "their",
        "theirs",
        "them",
        "themselves",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "upon",
        "us",
        "ve",
        "very",
        "was",
        "wasn",
        "we",
        "were",
        "weren",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "won",
        "would",
        "wouldn",
        "you",
        "your",
        "yours",
        "yourself",
        "yourselves",
        "many",
        "much",
        "per",
        "often",
        "please",
        "tell",
        "want",
        "know",
        "does",
        "d",
        "m",
        "o",
        "y",
        "may",
        "might",
        "must",
    ]
)


@cache
def stop_words(language: Language) -> frozenset[str]:
    """Words that carry no meaning of their own; question words are among them."""
    if language == "en":
        return _ENGLISH_STOP_WORDS
    from bm25s import stopwords

    lists = {
        "de": stopwords.STOPWORDS_DE, "fr": stopwords.STOPWORDS_FR, "es": stopwords.STOPWORDS_ES,
        "it": stopwords.STOPWORDS_IT, "nl": stopwords.STOPWORDS_NL, "pt": stopwords.STOPWORDS_PT,
        "sv": stopwords.STOPWORDS_SV, "no": stopwords.STOPWORDS_NO, "ru": stopwords.STOPWORDS_RU,
    }  # fmt: skip
    return frozenset(lists.get(language, ()))


def tokens(text: str) -> Iterator[str]:
    """The tokens as they are written, identifiers and paths whole."""
    folded = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text))
    for match in _TOKEN.finditer(folded):
        if len(match[0]) <= TOKEN_CHARACTERS_MAX:
            yield match[0]


def of_token(token: str, language: Language) -> list[str]:
    """The terms of one token: its stem, or each part's stem and the whole; none for a stop word."""
    bare = _POSSESSIVE.sub("", token)
    if bare.isalpha() and (bare.islower() or bare.istitle() or bare.isupper()):
        return _of_word(bare.lower(), language)
    parts = [piece for part in _PART.findall(bare) for piece in _CAMEL.split(part)]
    found = [term for part in parts for term in _of_word(part.lower(), language)]
    whole = bare.lower()
    if len(parts) > 1 and whole not in found:
        found.append(whole)
    return found


def of_text(text: str, language: Language) -> list[str]:
    """All terms of a text, in order, repeated as they are."""
    return [term for token in tokens(text) for term in of_token(token, language)]


@lru_cache(maxsize=200_000)
def _stemmed(word: str, language: Language) -> str:
    return str(_stemmer(language).stemWord(word))


def _of_word(word: str, language: Language) -> list[str]:
    if word in stop_words(language):
        return []
    if word[0].isdigit():
        return [word]
    stem = _stemmed(_IRREGULAR.get(word, word) if language == "en" else word, language)
    number = _NUMBER_WORDS.get(word) if language == "en" else None
    return [stem, number] if number else [stem]


@cache
def _stemmer(language: Language):  # type: ignore[no-untyped-def]
    import Stemmer

    return Stemmer.Stemmer(_STEMMERS[language])
