"""Personal data in a ticket, blacked out before a model sees it."""

import re

_PATTERNS = (
    ("email", re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b")),
    ("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")),
    ("card", re.compile(r"\b(?:\d[ -]?){12,18}\d\b")),
    ("phone", re.compile(r"(?<![\w.])\+?\(?\d[\d ()/.-]{6,17}\d\b")),
    (
        "secret",
        re.compile(
            r"(?i)\b(?:password|passwort|kennwort|mot de passe|contrase(?:ñ|n)a|senha|pin|cvv|code)\s*(?:is|ist|est|es|é|è|:|=)\s*\S+"
        ),
    ),
)


def masked(text: str) -> str:
    """The text with e-mail addresses, account, card and telephone numbers and passwords replaced."""
    for name, pattern in _PATTERNS:
        text = pattern.sub(f"[{name}]", text)
    return text


def found(text: str) -> list[str]:
    """The personal data of a text, to the letter, so that a reply can be checked for it."""
    return [hit.group() for _, pattern in _PATTERNS for hit in pattern.finditer(text)]
