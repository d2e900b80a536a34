"""Which language a ticket is written in, as an ISO 639-1 code."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from agora_ticket_resolver.texts import words

if TYPE_CHECKING:
    from lingua import LanguageDetector

DEFAULT_LANGUAGES = (
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da", "nb", "fi", "cs", "sk", "hu", "ro", "bg", "el",
    "tr", "ru", "uk", "ar", "fa", "he", "hi", "bn", "zh", "ja", "ko", "th", "vi", "id",
)  # fmt: skip
"""What customers of most companies write in. Fewer languages make short tickets easier to tell apart."""

CHARACTERS_MAX = 600
CERTAIN_SHARE = 0.55
"""Below this share a short text may be anything, and what the deployment expects decides."""

# Words that mean the same nowhere else; lingua is unsure of texts of one to three words.
_TELLING = {
    "en": "hello hi hey thanks thank please the is my not refund order help password invoice broken and with cannot can't how what where when",
    "de": "hallo danke bitte ich nicht und der die das ist mein meine rechnung bestellung wo wie kein keine passwort hilfe",
    "fr": "bonjour merci je ne pas le la les mon ma facture commande comment svp remboursement bonsoir est où",
    "es": "hola gracias por favor no el mi pedido factura cuando donde como quiero ayuda reembolso contraseña está dónde",
    "it": "ciao buongiorno grazie per favore il mio mia ordine fattura dove quando come non rimborso aiuto",
    "pt": "olá ola obrigado obrigada por favor meu minha pedido fatura onde quando não nao reembolso ajuda senha",
    "nl": "hallo bedankt alstublieft ik niet het een mijn bestelling factuur waar wanneer hoe",
}
_WORDS = {code: frozenset(words(listed)) for code, listed in _TELLING.items()}
_NOISE = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|[A-Z]*\d[\w-]*|[\w-]+\.(?:com|pdf|png|jpg|log|csv|exe)\b")


class DetectedLanguage(msgspec.Struct, frozen=True, kw_only=True):
    """A language and the share of certainty, 0 to 1."""

    code: str
    share: float


class UnknownLanguage(Exception):
    """A code that is no ISO 639-1 code of a language that can be told."""

    def __init__(self, code: str) -> None:
        super().__init__(f"{code!r} is not the ISO 639-1 code of a language that can be told")
        self.code = code


def detect(text: str, expected: Sequence[str] = ()) -> DetectedLanguage:
    """Tell the language of a text.

    Args:
        text: The ticket; addresses, numbers and file names in it do not count.
        expected: The only codes to choose from, the usual one first; empty stands for the common ones.

    Raises:
        UnknownLanguage: a code in `expected` is not known.
    """
    codes = tuple(dict.fromkeys(code.lower() for code in expected)) or DEFAULT_LANGUAGES
    plain = _NOISE.sub(" ", text[:CHARACTERS_MAX])
    if len(codes) == 1 or not any(character.isalpha() for character in plain):
        detector(codes)
        return DetectedLanguage(code=codes[0], share=1.0 if len(codes) == 1 else 0.0)
    # A text in capitals has other n-grams than the models were made from.
    plain = plain.lower() if plain.isupper() else plain
    ranked = [
        (value.language.iso_code_639_1.name.lower(), value.value)
        for value in detector(codes).compute_language_confidence_values(plain)
    ]
    telling = words(plain)
    if len(telling) <= 12:
        ranked = _with_telling_words(ranked, telling, codes)
    code, share = max(ranked, key=lambda item: item[1])
    if share < 0.2 and not any(ord(character) > 0x24F for character in plain if character.isalpha()):
        code = codes[0]
    return DetectedLanguage(code=code, share=round(share, 4))


@cache
def detector(codes: tuple[str, ...]) -> "LanguageDetector":
    """Lingua for these languages, kept: its models load on first use.

    Raises:
        UnknownLanguage: a code is not known.
    """
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    known = []
    for code in codes:
        found = getattr(IsoCode639_1, code.upper(), None)
        if found is None:
            raise UnknownLanguage(code)
        known.append(found)
    if len(known) == 1:
        # Lingua wants two to choose from.
        known.append(IsoCode639_1.EN if codes[0] != "en" else IsoCode639_1.DE)
    return LanguageDetectorBuilder.from_iso_codes_639_1(*known).build()


def _with_telling_words(
    ranked: list[tuple[str, float]], present: list[str], codes: tuple[str, ...]
) -> list[tuple[str, float]]:
    weighed = []
    for code, share in ranked:
        hits = sum(word in _WORDS.get(code, ()) for word in present)
        prior = 1.6 if code == codes[0] else 1.0
        weighed.append((code, (share + 0.01) * prior * (2.5 ** min(hits, 4))))
    total = sum(share for _, share in weighed)
    return [(code, share / total) for code, share in weighed]
