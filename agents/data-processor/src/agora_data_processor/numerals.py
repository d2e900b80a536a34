# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Columns of numbers as people write them, converted as a whole."""

import re

import polars as pl

from agora_data_processor import native
from agora_data_processor.plans import ColumnPlan

CURRENCY_CODES = {
    "US$": "USD", "$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD",
    "S$": "SGD", "R$": "BRL", "MX$": "MXN", "€": "EUR", "£": "GBP", "¥": "JPY", "￥": "JPY", "₹": "INR",
    "RS": "INR", "RS.": "INR", "₽": "RUB", "РУБ": "RUB", "РУБ.": "RUB", "₩": "KRW", "₺": "TRY", "TL": "TRY",
    "₪": "ILS", "฿": "THB", "₫": "VND", "₴": "UAH", "₦": "NGN", "₱": "PHP", "KR": "SEK", "KR.": "DKK",
    "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "FR": "CHF", "FR.": "CHF", "SFR": "CHF", "SFR.": "CHF", "元": "CNY", "\\": "JPY",
    "円": "JPY", "원": "KRW", "RM": "MYR", "RP": "IDR", "EURO": "EUR", "EUROS": "EUR",
}  # fmt: skip
"""Symbols and words to ISO codes; where a symbol is shared (kr, $), the commonest currency."""
_ISO_CODES = (
    "USD EUR GBP JPY CHF CNY INR AUD CAD NZD SEK NOK DKK PLN CZK HUF RON BGN TRY RUB UAH BRL MXN ARS "
    "CLP COP ZAR KRW SGD HKD TWD THB IDR MYR PHP VND ILS AED SAR EGP NGN KES PKR BDT LKR ISK"
)
_ISO = _ISO_CODES.split()
_SYMBOLS = sorted({*CURRENCY_CODES, *_ISO}, key=lambda symbol: (-len(symbol), symbol))
_CURRENCY = "(?i:" + "|".join(map(re.escape, _SYMBOLS)) + ")"
_PREFIX = rf"^([-+(]?\s*){_CURRENCY}\s*"
_SUFFIX = rf"\s*{_CURRENCY}(\s*\)?-?)$"
_EXTRACT = rf"^[-+(]?\s*({_CURRENCY})\s*[-+]?\s*[\d.,]|\d\)?\s*({_CURRENCY})\s*\)?-?$"
HAS_CURRENCY = rf"^[-+(]?\s*{_CURRENCY}\s*[-+]?\s*[\d.,]|[\d.,\-–]\)?\s*{_CURRENCY}\s*\)?-?$"

_GROUPED = {
    ".": r"[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}|[1-9]\d{0,2}(?:['’ ]\d{3})+|\d+",
    ",": r"[1-9]\d{0,2}(?:\.\d{3})+|[1-9]\d{0,2}(?:['’ ]\d{3})+|\d+",
}


def _grammar(mark: str) -> str:
    decimal = re.escape(mark)
    number = rf"(?:(?:{_GROUPED[mark]})(?:{decimal}(?:\d+|[-–]{{1,2}})?)?|{decimal}\d+)"
    exponent = r"(?:[eE][-+]?\d{1,3})?"
    return rf"^(?:[-+]\s?{number}{exponent}|\(\s?-?{number}\s?%?\s?\)|{number}{exponent}(?:\s?-)?)\s?%?$"


GRAMMARS = {mark: _grammar(mark) for mark in (".", ",")}


def normal(values: pl.Series) -> pl.Series:
    """The same cells with one minus, one kind of space and no currency, ready for the grammars."""
    plain = values.str.strip_prefix(native.MARK)
    if plain.str.contains(r"[^\x00-\x7f]").any():
        plain = plain.str.replace_all("[−‐‑–]", "-").str.replace_all("[\u00a0\u202f\u2009\u2007]", " ")
        plain = plain.str.replace_all("％", "%")
    if plain.str.contains(r"[^\d\s.,'’+\-()%eE]").any():
        plain = plain.str.replace(_PREFIX, "${1}").str.replace(_SUFFIX, "${1}").str.strip_chars()
    return plain


def currencies_of(values: pl.Series) -> pl.Series:
    """The ISO code that each cell states, or null."""
    found = values.str.extract(_EXTRACT, 1).fill_null(values.str.extract(_EXTRACT, 2)).str.to_uppercase()
    known = {**CURRENCY_CODES, **{code: code for code in _ISO}}
    return found.replace_strict(known, default=None, return_dtype=pl.String)


def convert(values: pl.Series, plan: ColumnPlan) -> pl.Series:
    """Numbers of a column; null where a cell is none (or was null before)."""
    stated = values.str.starts_with(native.MARK)
    plain = normal(values)
    other = "," if plan.decimal_mark == "." else "."
    number = _converted(plain, plan.decimal_mark)
    # A cell that only makes sense in the other convention ("12,5" among "1.5") is read in that one.
    if (number.is_null() & plain.is_not_null()).any():
        number = number.fill_null(_converted(plain, other))
    if stated.any():
        number = pl.select(
            pl.when(stated).then(plain.cast(pl.Float64, strict=False)).otherwise(number)
        ).to_series()
    if plan.percent:
        return pl.select(
            pl.when(stated).then(number).otherwise((number / 100).round(plan.places))
        ).to_series()
    if not plan.forced:
        number = _without(number, plain.str.contains("%", literal=True))
    if plan.kind != "integer":
        return number
    return _exact_integers(plain, number)


def _without(number: pl.Series, unfit: pl.Series) -> pl.Series:
    return pl.select(pl.when(unfit.fill_null(False)).then(None).otherwise(number)).to_series()


def _exact_integers(plain: pl.Series, number: pl.Series) -> pl.Series:
    """Integers from their digits: a float would lose those beyond 15."""
    whole = (number == number.floor()) & number.is_finite()
    digits = plain.str.replace_all(r"[^\d]", "").cast(pl.Int64, strict=False)
    simple = ~plain.str.contains(r"[.,]\d{0,2}$|[eE]")
    signed = pl.select(pl.when(number < 0).then(-digits).otherwise(digits)).to_series()
    rough = number.cast(pl.Int64, strict=False)
    return pl.select(pl.when(whole & simple).then(signed).when(whole).then(rough).otherwise(None)).to_series()


def _converted(plain: pl.Series, mark: str) -> pl.Series:
    valid = plain.str.contains(GRAMMARS[mark])
    negative = plain.str.contains(r"^\(|^-|-\s?%?$")
    body = plain.str.replace_all(rf"[^\d{re.escape(mark)}eE+\-]", "").str.strip_chars("+-")
    if mark == ",":
        body = body.str.replace(",", ".", literal=True)
    body = body.str.replace(r"\.-*$", "")
    value = body.cast(pl.Float64, strict=False)
    return pl.select(
        pl.when(valid.fill_null(False)).then(pl.when(negative).then(-value).otherwise(value)).otherwise(None)
    ).to_series()
