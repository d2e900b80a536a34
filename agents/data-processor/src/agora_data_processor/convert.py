# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""A column of strings and its plan, to a typed column. The one place where cells become values."""

import datetime

import msgspec
import polars as pl

from agora_data_processor import dates, native, numerals
from agora_data_processor.plans import ColumnPlan, Kind

TRUE = frozenset({"true", "t", "yes", "y", "1", "on", "ja", "j", "wahr", "oui", "vrai", "o", "si", "sí", "sì", "s",
                  "verdadero", "vero", "sim", "verdadeiro", "tak", "да", "истина", "✓", "✔", "☑", "はい", "是",
                  "1.0", "enabled"})  # fmt: skip
FALSE = frozenset({"false", "f", "no", "n", "0", "off", "nein", "falsch", "non", "faux", "falso", "não", "nie", "нет",
                   "ложь", "✗", "✘", "☐", "いいえ", "否", "0.0", "disabled"})  # fmt: skip
_INVISIBLE = "[\u200b\u200c\u200d\u2060\ufeff\u00ad]"
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"

_MOJIBAKE = "[ÂÃÄÅ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€"

LEADING_ZERO = r"^[+-]?0+[1-9]\d*$"
"""Digits that are a code: a number has no zeros before it."""

DTYPES: dict[Kind, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "decimal": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
    "time": pl.Time(),
}


def dtype(plan: ColumnPlan) -> pl.DataType:
    """The type of a converted column."""
    return pl.Datetime("us", "UTC") if plan.kind == "datetime" and plan.zoned else DTYPES[plan.kind]


def trimmed(values: pl.Series) -> pl.Series:
    """Cells without white space at their ends and without characters that cannot be seen; "" becomes null."""
    cleaned = values.str.strip_chars()
    if cleaned.str.contains(_INVISIBLE).any():
        cleaned = cleaned.str.replace_all(_INVISIBLE, "").str.strip_chars()
    if cleaned.str.contains(_CONTROL).any():
        cleaned = cleaned.str.replace_all(_CONTROL, "").str.strip_chars()
    if cleaned.str.contains(_MOJIBAKE).any():
        cleaned = _without_mojibake(cleaned)
    if cleaned.str.contains("\r", literal=True).any():
        cleaned = cleaned.str.replace_all("\r\n?", "\n")
    return cleaned.replace("", None)


def _without_mojibake(values: pl.Series) -> pl.Series:
    """UTF-8 that was once read as Windows-1252 and saved, read right: MÃ¼ller is Müller."""
    suspects = values.filter(values.str.contains(_MOJIBAKE).fill_null(False)).unique().to_list()
    mended = {text: fixed for text in suspects if (fixed := _read_as_utf8(text)) is not None}
    return values.replace(mended) if mended else values


def _read_as_utf8(text: str) -> str | None:
    data = bytearray()
    for character in text:
        try:
            data += character.encode("cp1252")
        except UnicodeEncodeError:
            if ord(character) > 0xFF:
                return None
            data.append(ord(character))  # bytes without a character in Windows-1252 pass as they are
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def is_null(values: pl.Series, plan: ColumnPlan) -> pl.Series:
    """Which (trimmed) cells hold no value under this plan."""
    if not plan.nulls:
        return values.is_null()
    short = values.str.len_bytes() <= 24
    if not short.any():
        return values.is_null()
    return values.is_null() | (short & values.str.to_lowercase().is_in(sorted(plan.nulls)))


def convert(values: pl.Series, plan: ColumnPlan) -> pl.Series:
    """Trimmed cells of a column as its type; null where there is no value and where a cell does not fit."""
    present = pl.select(pl.when(is_null(values, plan)).then(None).otherwise(values)).to_series()
    if plan.kind == "text":
        return present.str.strip_prefix(native.MARK)
    if plan.kind in ("integer", "decimal"):
        return numerals.convert(present, plan)
    if plan.kind == "boolean":
        return booleans(present)
    if plan.kind == "time":
        return dates.convert_times(present)
    moments = dates.convert(present, plan)
    if plan.kind == "date":
        # A time of day is never cut off: such a cell is no date.
        pure = moments.value.dt.time() == datetime.time()
        return pl.select(pl.when(pure).then(moments.value)).to_series().cast(pl.Date)
    if plan.zoned:
        return moments.value.dt.replace_time_zone("UTC")
    return pl.select(pl.when(~moments.zoned).then(moments.value)).to_series()


def booleans(values: pl.Series) -> pl.Series:
    """True and false in their many words; null for any other."""
    lowered = values.str.strip_prefix(native.MARK).str.to_lowercase()
    mapping = dict.fromkeys(TRUE, True) | dict.fromkeys(FALSE, False)
    return lowered.replace_strict(mapping, default=None, return_dtype=pl.Boolean)


def failures(values: pl.Series, converted: pl.Series, plan: ColumnPlan) -> pl.Series:
    """Which cells hold something that is no value of the column's type."""
    if plan.kind == "text":
        return pl.Series([False]).new_from_index(0, len(values))
    return converted.is_null() & ~is_null(values, plan)


def speaks_for_another_plan(values: pl.Series, failed: pl.Series, plan: ColumnPlan) -> pl.Series:
    """Cells that are sound under a wider type: decimals among integers, times among dates, codes among numbers."""
    if plan.kind == "integer":
        wider = msgspec.structs.replace(plan, kind="decimal")
        zeros = values.str.contains(LEADING_ZERO).fill_null(False)
        if not failed.any():
            return zeros
        return zeros | (failed & convert(values, wider).is_not_null())
    if plan.kind in ("date", "datetime") and failed.any():
        wider = msgspec.structs.replace(plan, kind="datetime", zoned=True)
        return failed & convert(values, wider).is_not_null()
    return pl.Series([False]).new_from_index(0, len(values))
