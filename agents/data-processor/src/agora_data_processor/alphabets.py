# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Single-byte encodings, told by the letters that languages really have.

Statistical detectors want paragraphs; a table may hold three umlauts and a euro sign. A codec is right where
every byte above 127 becomes a letter of one language, in a place where such a letter can stand, or a usual sign.
"""

from dataclasses import dataclass

_SIGNS = frozenset("€£¥¢©®™°±²³¹¼½¾µ§·•–—‘’‚“”„…«»¿¡‹›ºª×´\u00a0\u00ad№")
_LETTERS = {
    "de": "äöüß", "fr": "éèêëàâçîïôùûœæ", "es": "áéíóúüñ", "pt": "áàâãçéêíóôõú", "it": "àèéìíòóù", "nordic": "åäöæøé",
    "is": "áæéíðóöúýþ", "nl": "éëïóöü", "mixed": "äöüßéèêàáâçñíóúôîïëåæøãõìòùûÿœšž",
    "pl": "ąćęłńóśźż", "cs": "áčďéěíňóřšťúůýž", "sk": "áäčďéíĺľňóôŕšťúýž", "hu": "áéíóöőúüű", "ro": "ăâîşţșț",
    "hr": "čćđšž", "tr": "çğıöşüiâ", "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "uk": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "bg": "абвгдежзийклмнопрстуфхцчшщъьюя", "el": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ",
    "he": "אבגדהוזחטיךכלםמןנסעףפץצקרשת", "ar": "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىي", "lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūž",
    "et": "äöõüšž",
}  # fmt: skip
_DOTTED = {"tr": frozenset("İ")}
"""Capitals that Python's upper() does not know by language."""
_CYRILLIC = frozenset({"ru", "uk", "bg"})
_LATIN = frozenset(_LETTERS) - {"ru", "uk", "bg", "el", "he", "ar"}
_CODECS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cp1252", ("de", "fr", "es", "pt", "it", "nordic", "is", "nl", "mixed")),
    ("cp1250", ("pl", "cs", "hu", "sk", "ro", "hr")),
    ("iso8859-2", ("pl", "cs", "hu", "sk", "ro", "hr")),
    ("cp1251", ("ru", "uk", "bg")),
    ("koi8-r", ("ru",)),
    ("cp866", ("ru",)),
    ("cp1253", ("el",)),
    ("cp1254", ("tr",)),
    ("cp1255", ("he",)),
    ("cp1256", ("ar",)),
    ("cp1257", ("lt", "lv", "et")),
    ("iso8859-15", ("de", "fr", "es", "pt", "it", "nordic", "mixed")),
    ("mac_roman", ("de", "fr", "es", "pt", "it", "nordic", "mixed")),
    ("cp850", ("de", "fr", "es", "pt", "it", "nordic", "mixed")),
)
"""In order of how common they are: of equally good ones the first is taken."""

ENOUGH = 0.96
_CHARACTERS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A codec, the language that fits it best, and the share of high characters that make sense (0 to 1)."""

    codec: str
    language: str
    share: float


def best(data: bytes) -> Guess | None:
    """The single-byte codec under which the data reads best; None where there is no high byte."""
    sample = data[:_CHARACTERS_MAX]
    found: Guess | None = None
    found_rank = -1.0
    for order, (codec, languages) in enumerate(_CODECS):
        try:
            text = sample.decode(codec)
        except UnicodeDecodeError:
            continue
        places = _high_places(text)
        if not places:
            return None
        for language in languages:
            share = _share(text, places, language)
            if language in _CYRILLIC and text.islower():
                share -= 0.05  # names have capitals; scripts without case look like this
            # A small alphabet that explains everything says more than a large one; then custom decides.
            rank = share - 0.0004 * len(_LETTERS[language]) - 0.002 * order
            if rank > found_rank:
                found, found_rank = Guess(codec=codec, language=language, share=share), rank
    return found


def _high_places(text: str) -> list[int]:
    return [position for position, character in enumerate(text) if character >= "\x80"]


def _share(text: str, places: list[int], language: str) -> float:
    letters = (
        frozenset(_LETTERS[language])
        | frozenset(_LETTERS[language].upper())
        | _DOTTED.get(language, frozenset())
    )
    latin = language in _LATIN
    return sum(_sense(text, position, letters, latin) for position in places) / len(places)


def _sense(text: str, position: int, letters: frozenset[str], latin: bool) -> float:
    character = text[position]
    before = text[position - 1] if position else " "
    after = text[position + 1] if position + 1 < len(text) else " "
    if character in letters:
        if character.isupper() and before.islower():
            return 0.1
        if not latin:
            # Letters of another script stand beside their own kind: neither inside Latin words nor alone.
            if any(other.isascii() and other.isalpha() for other in (before, after)):
                return 0.2
            return 1.0 if any(other.isalpha() for other in (before, after)) else 0.5
        high_neighbours = (before >= "\x80" and before.isalpha()) + (after >= "\x80" and after.isalpha())
        if high_neighbours == 2:
            return 0.1
        alone = not before.isalpha() and not after.isalpha()
        return 0.5 if alone else 1.0 - 0.05 * high_neighbours
    if character in "’‘":
        return 1.0
    if character in "£€¥" and after.isalpha():
        return 0.2  # money stands before digits
    if character in _SIGNS:
        return (
            0.2
            if before.isalpha() and after.isalpha()
            else 0.9
            if before.isalpha() and character not in "ºª™®°"
            else 1.0
        )
    return 0.0
