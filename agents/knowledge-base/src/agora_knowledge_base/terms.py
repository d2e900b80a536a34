"""Words to search terms: stems, numbers written as numbers, and identifiers both whole and in parts."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Literal

from agora_knowledge_base import english

Language = Literal["en", "de", "fr", "es", "it", "nl", "pt", "sv", "no", "da", "fi", "ru"]

TOKEN_CHARACTERS_MAX = 64
"""A longer token is no word: base64, a hash in a log. It is left out."""

_STEMMERS = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "nl": "dutch",
    "pt": "portuguese", "sv": "swedish", "no": "norwegian", "da": "danish", "fi": "finnish", "ru": "russian",
}  # fmt: skip

_TOKEN = re.compile(r"\w+(?:[.\-/:@'\u2019]\w+)*")
_PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_POSSESSIVE = re.compile(r"['\u2019]s?\b")


@cache
def stop_words(language: Language) -> frozenset[str]:
    """Words that carry no meaning of their own; question words are among them."""
    if language == "en":
        return english.STOP_WORDS
    from bm25s import stopwords  # type: ignore[import-untyped]

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
    stem = _stemmed(english.IRREGULAR.get(word, word) if language == "en" else word, language)
    number = english.NUMBERS.get(word) if language == "en" else None
    return [stem, number] if number else [stem]


@cache
def _stemmer(language: Language) -> Any:
    import Stemmer  # type: ignore[import-not-found]

    return Stemmer.Stemmer(_STEMMERS[language])
