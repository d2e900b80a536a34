"""Personal data in text, found by shape and, where there is one, by check digit."""

import re
from collections.abc import Callable, Sequence

import polars as pl
from stdnum import iban, luhn

from agora_data_processor.job import PiiKind

_EMAIL = re.compile(r"\b[\w.+%-]+@[\w-]+(?:\.[\w-]+)+\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b")
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_SSN = re.compile(r"\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b")
_IP = re.compile(r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b(?!\.\d)")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[\s.\-/]?(?:\(\d{1,5}\)[\s.\-/]?)?\d{1,5}(?:[\s.\-/]?\d{2,5}){1,4}"
    r"|\(\d{2,5}\)[\s.\-/]?\d{2,5}(?:[\s.\-/]\d{2,5}){1,3}"
    r"|0\d{1,4}[\s.\-/]\d{2,8}(?:[\s.\-/]\d{2,6}){0,3}"
    r"|\d{3}[.\-\s]\d{3}[.\-\s]\d{4})(?![\w-]|\.\d)"
)
_DIGITS_OF_A_PHONE = range(7, 16)

type Finder = tuple[PiiKind, re.Pattern[str], Callable[[str], bool]]


def _phone(text: str) -> bool:
    return sum(map(str.isdigit, text)) in _DIGITS_OF_A_PHONE


def _always(_text: str) -> bool:
    return True


_FINDERS: tuple[Finder, ...] = (
    ("email", _EMAIL, _always),
    ("iban", _IBAN, lambda text: bool(iban.is_valid(text))),
    ("card", _CARD, lambda text: bool(luhn.is_valid(re.sub(r"\D", "", text)))),
    ("ssn", _SSN, _always),
    ("ip", _IP, _always),
    ("phone", _PHONE, _phone),
)
"""In order of certainty: what one has replaced, the next no longer sees."""


def redact(text: str, kinds: Sequence[PiiKind]) -> str:
    """The text with each find replaced by its kind in brackets."""
    for kind, pattern, confirmed in _FINDERS:
        if kind in kinds:
            text = pattern.sub(
                lambda match, kind=kind, confirmed=confirmed: (  # type: ignore[misc]
                    f"[{kind.upper()}]" if confirmed(match[0]) else match[0]
                ),
                text,
            )
    return text


def redact_series(values: pl.Series, kinds: Sequence[PiiKind]) -> pl.Series:
    """The same for a column; only cells with a digit or an @ are looked at."""
    suspicious = values.str.contains(r"@|\d")
    distinct = values.filter(suspicious.fill_null(False)).unique()
    changed = {text: new for text in distinct.to_list() if (new := redact(text, kinds)) != text}
    return values.replace(changed) if changed else values
