"""What was found for a ticket, and the words that tell; no numpy, so that steps import it for nothing."""

import re

import msgspec

from agora_ticket_resolver.articles import Passage
from agora_ticket_resolver.texts import stem, words

_STOP = frozenset(
    ["a", "an", "the", "and", "or", "but", "if", "is", "are", "was", "were", "be", "been", "am", "i", "you", "he", "she", "it", "we", "they", "my", "your", "our", "their", "me", "us", "them", "this", "that", "these", "those", "to", "of", "in", "on", "at", "by", "for", "from", "with", "as", "do", "does", "did", "have", "has", "had", "can", "could", "will", "would", "should", "may", "please", "hello", "hi", "hey", "dear", "thanks", "thank", "team", "regards", "not", "no", "yes", "so", "just", "any", "some", "there", "here", "what", "when", "where", "which", "who", "how", "why", "get", "got", "want", "need", "like", "help", "know", "im", "ive", "its", "dont", "cant", "still", "also", "very", "more", "one", "der", "die", "das", "und", "oder", "ich", "sie", "wir", "ist", "sind", "ein", "eine", "mein", "meine", "nicht", "zu", "in", "mit", "auf", "von", "fur", "bitte", "danke", "hallo", "wie", "le", "la", "les", "un", "une", "et", "ou", "je", "vous", "nous", "est", "sont", "mon", "ma", "mes", "de", "du", "des", "pas", "ne", "que", "qui", "pour", "avec", "bonjour", "merci", "el", "los", "las", "y", "o", "yo", "es", "son", "mi", "mis", "de", "del", "no", "que", "por", "para", "con", "hola", "gracias", "como", "se", "il", "lo", "gli", "e", "o", "io", "mi", "mio", "mia", "di", "del", "della", "non", "che", "per", "con", "ciao", "grazie", "come", "os", "as", "um", "uma", "e", "ou", "eu", "meu", "minha", "de", "do", "da", "dos", "das", "nao", "que", "por", "para", "com", "ola", "obrigado", "obrigada", "como"]
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that was found, with how well it answers (0 to 1) and what that comes from."""

    passage: Passage
    score: float
    likeness: float
    """Cosine of question and passage, with the common direction taken out."""
    coverage: float
    """Share of the question's telling words, by weight, that its article uses."""


def content_words(text: str) -> list[str]:
    """The stems of a text's telling words, in order; "Wi-Fi" and "e-mail" are one word each."""
    whole = _SHORT_HYPHEN.sub(r"\1\2", text[:6_000])
    return [
        stem(word) for word in words(whole) if word not in _STOP and (len(word) > 1 or not word.isascii())
    ]


_SHORT_HYPHEN = re.compile(r"\b(\w{1,4})-(\w{2,4})\b")
