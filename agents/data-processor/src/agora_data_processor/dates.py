"""Columns of dates and times in the many ways people write them, converted as a whole."""

from dataclasses import dataclass

import polars as pl

from agora_data_processor import native
from agora_data_processor.plans import ColumnPlan

_MONTHS = (
    "january|jan|januar|jänner|janvier|janv|enero|ene|gennaio|gen|janeiro|januari|stycznia|styczeń|января|янв|tammikuu",
    "february|feb|februar|février|févr|fév|febrero|febbraio|fevereiro|fev|februari|lutego|luty|февраля|фев",
    "march|mar|märz|mär|mrz|mars|marzo|março|maart|mrt|marca|marzec|марта|мар",
    "april|apr|avril|avr|abril|abr|aprile|kwietnia|kwiecień|апреля|апр",
    "may|mai|mayo|maggio|mag|maio|mei|maj|maja|мая|май",
    "june|jun|juni|juin|junio|giugno|giu|junho|czerwca|czerwiec|июня|июн",
    "july|jul|juli|juillet|juil|julio|luglio|lug|julho|lipca|lipiec|июля|июл",
    "august|aug|août|aout|agosto|ago|augustus|augusti|sierpnia|sierpień|августа|авг",
    "september|sept|sep|septembre|septiembre|settembre|set|setembro|września|wrzesień|сентября|сен",
    "october|oct|oktober|okt|octobre|octubre|ottobre|ott|outubro|out|października|październik|октября|окт",
    "november|nov|novembre|noviembre|novembro|listopada|listopad|ноября|ноя",
    "december|dec|dezember|dez|décembre|déc|diciembre|dic|dicembre|dezembro|desember|des|grudnia|grudzień|декабря|дек",
)
_WEEKDAYS = (
    r"(?i)^(?:mon|tue|tues|wed|thu|thur|thurs|fri|sat|sun|montag|dienstag|mittwoch|donnerstag|freitag|samstag|"
    r"sonnabend|sonntag|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|lunes|martes|miércoles|jueves|"
    r"viernes|sábado|domingo|mo|di|mi|do|fr|sa|so)(?:day|sday|nesday|rsday|urday)?\.?,?\s+"
)
_ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360,
    "PST": -480, "PDT": -420, "CET": 60, "CEST": 120, "MEZ": 60, "MESZ": 120, "BST": 60, "EET": 120, "EEST": 180,
    "MSK": 180, "JST": 540, "KST": 540,
}  # fmt: skip
"""Minutes east of Greenwich; ambiguous abbreviations (IST) are left out."""
_TIME = (
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(?:([AaPp])\.?\s?[Mm]\.?)?\s*"
    r"(?:\(?(Z|z|UTC|GMT|[A-Z]{3,4}|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?)\)?)?"
)
_TAIL = r"(?:(?:T|t|[ ,]+|:)\s*(.+))?$"
_NUMERIC = r"^(\d{1,4})\s?[-/. ]\s?(\d{1,2})\s?[-/. ]\s?(\d{1,4})\.?" + _TAIL
_DAY_MONTH_YEAR = r"^(\d{1,2})[\s\-/.,]*~(\d+)~[\s\-/.,']*(\d{4}|\d{2})" + _TAIL
_MONTH_DAY_YEAR = r"^~(\d+)~[\s\-/.]*(\d{1,2})[\s,\-/.]+'?(\d{4}|\d{2})" + _TAIL
_YEAR_MONTH_DAY = r"^(\d{4})[\s\-/.,]*~(\d+)~[\s\-/.,]*(\d{1,2})" + _TAIL
COMPACT = r"^((?:18|19|20|21)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?:[T ]?([01]\d|2[0-3])([0-5]\d)([0-5]\d)?(Z)?)?$"
TIME_ONLY = r"^([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d)(?:[.,](\d{1,9}))?)?\s*(?:([AaPp])\.?\s?[Mm]\.?)?$"
AMBIGUOUS = r"^(\d{1,2})\s?[-/. ]\s?(\d{1,2})\s?[-/. ]\s?(?:\d{4}|\d{2})\b"
"""Cells whose first two numbers are day and month in one order or the other."""
LIKE = r"^\d{1,4}\s?[-/.]\s?\d{1,2}\s?[-/.]\s?\d{1,4}"
"""Cells of a date's shape, also where no such day exists."""
_SERIAL_MIN, _SERIAL_MAX = 10_000, 80_000
_PIVOT, _PIVOT_BIRTH = 69, 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """`value` is the moment (UTC where zoned), null where a cell is no date; the masks say what it stated."""

    value: pl.Series
    timed: pl.Series
    zoned: pl.Series


def normal(values: pl.Series) -> pl.Series:
    """The same cells with months as ~3~, without weekdays, ordinals and words between."""
    plain = values.str.strip_prefix(native.MARK)
    letters = plain.str.contains(r"[^\x00-\x7f]|[A-SU-Ya-su-y]")
    if not letters.any():
        return plain
    plain = (
        plain.str.replace_all(r"[年月]", "-")
        .str.replace_all(r"日", " ")
        .str.replace_all("[\u00a0\u202f]", " ")
    )
    plain = plain.str.replace(_WEEKDAYS, "")
    plain = plain.str.replace(r"(?i)(\d)(?:st|nd|rd|th|er|º|ª)\b", "${1}")
    plain = plain.str.replace_all(r"(?i)(\d|[a-zà-ž])\.?\s+(?:of|de|del|di)\s+", "${1} ")
    for number, names in enumerate(_MONTHS, start=1):
        plain = plain.str.replace(
            rf"(?i)(^|[\s\d\-/.,])(?:{names})\.?($|[\s\d\-/.,'])", f"${{1}}~{number}~${{2}}"
        )
    plain = plain.str.replace(r"(?i)(\d{1,2})\s?h\s?(\d{2})\b", "${1}:${2}").str.replace(
        r"(?i)\s*(?:uhr|hrs?)$", ""
    )
    return plain.str.strip_chars()


def convert(values: pl.Series, plan: ColumnPlan) -> Moments:
    """The moments of a column. Numeric dates follow `plan.order`, unless a cell can only mean the other."""
    frame = pl.DataFrame({"raw": normal(values)})
    forms = {"n": _NUMERIC, "c": COMPACT}
    if frame["raw"].str.contains("~", literal=True).any():
        forms |= {"dmy": _DAY_MONTH_YEAR, "mdy": _MONTH_DAY_YEAR, "ymd": _YEAR_MONTH_DAY}
    frame = frame.with_columns(
        pl.col("raw").str.extract_groups(pattern).alias(form) for form, pattern in forms.items()
    )
    year, month, day = _numeric_parts(plan)
    compact = pl.col("c").struct
    tails = [pl.col("n").struct["4"]]
    years, months, days = [year, compact["1"]], [month, compact["2"]], [day, compact["3"]]
    for form in ("dmy", "mdy", "ymd"):
        if form in forms:
            group = pl.col(form).struct
            years.append(group[str(form.index("y") + 1)])
            months.append(group[str(form.index("m") + 1)])
            days.append(group[str(form.index("d") + 1)])
            tails.append(group["4"])
    compact_time = (
        pl.when(compact["4"].is_not_null())
        .then(
            compact["4"]
            + ":"
            + compact["5"]
            + ":"
            + compact["6"].fill_null("00")
            + compact["7"].fill_null("")
        )
        .otherwise(None)
    )
    frame = frame.select(
        pl.col("raw"),
        y=_full_year(pl.coalesce(years), plan.old_years),
        m=pl.coalesce(months),
        d=pl.coalesce(days),
        tail=pl.coalesce(*tails, compact_time).str.strip_chars(),
    )
    return _moments(frame, values, plan)


def _numeric_parts(plan: ColumnPlan) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    group = pl.col("n").struct
    a, b, c = group["1"], group["2"], group["3"]
    first, second = a.cast(pl.Int32, strict=False), b.cast(pl.Int32, strict=False)
    year_first = (a.str.len_chars() >= 3) | (first > 31)
    day_first = (first > 12) if plan.order == "mdy" else ~((second > 12) & (first <= 12))
    year = pl.when(year_first).then(a).otherwise(c)
    month = pl.when(year_first).then(b).when(day_first).then(b).otherwise(a)
    day = pl.when(year_first).then(c).when(day_first).then(a).otherwise(b)
    return year, month, day


def _full_year(year: pl.Expr, old_years: bool) -> pl.Expr:
    pivot = _PIVOT_BIRTH if old_years else _PIVOT
    number = year.cast(pl.Int32, strict=False)
    digits = year.str.len_chars()
    return (
        pl.when(digits == 4)
        .then(number)
        .when(digits == 2)
        .then(number + pl.when(number < pivot).then(2000).otherwise(1900))
        .otherwise(None)
    )


def _moments(frame: pl.DataFrame, values: pl.Series, plan: ColumnPlan) -> Moments:
    timed = frame["tail"].is_not_null()
    day = frame.select(
        pl.format("{}-{}-{}", "y", "m", "d").str.to_date("%Y-%m-%d", strict=False).alias("day")
    ).to_series()
    if plan.serials:
        day = day.fill_null(_serial_days(values))
    if not timed.any():
        nothing = pl.Series([False]).new_from_index(0, len(values))
        return Moments(value=day.cast(pl.Datetime("us")), timed=nothing, zoned=nothing)
    seconds, micros, offset, sound = _times(frame["tail"])
    value = pl.select(
        pl.when(~timed | sound)
        .then(
            day.cast(pl.Datetime("us"))
            + pl.duration(seconds=pl.lit(seconds.fill_null(0)), microseconds=pl.lit(micros.fill_null(0)))
            - pl.duration(minutes=pl.lit(offset.fill_null(0)))
        )
        .otherwise(None)
    ).to_series()
    return Moments(value=value, timed=timed, zoned=offset.is_not_null())


def _serial_days(values: pl.Series) -> pl.Series:
    """Days that Excel counted from 1899-12-30, where a sheet's format was lost."""
    number = values.str.strip_prefix(native.MARK).cast(pl.Float64, strict=False)
    day = number.floor().cast(pl.Int32, strict=False)
    return pl.select(
        pl.when(number.is_between(_SERIAL_MIN, _SERIAL_MAX))
        .then(pl.date(1899, 12, 30) + pl.duration(days=pl.lit(day)))
        .otherwise(None)
    ).to_series()


def _times(tail: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series, pl.Series]:
    """Seconds of the day, microseconds, minutes east of UTC (null if not stated), and whether it is a time."""
    parts = pl.DataFrame({"t": tail}).select(pl.col("t").str.extract_groups("^" + _TIME + "$")).unnest("t")
    hour, minute, second = (parts[name].cast(pl.Int64, strict=False) for name in ("1", "2", "3"))
    half = parts["5"].str.to_lowercase()
    hour24 = pl.select(
        pl.when(half == "p").then(hour % 12 + 12).when(half == "a").then(hour % 12).otherwise(hour)
    ).to_series()
    micros = parts["4"].str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64, strict=False)
    offset, zone_known = _offsets(parts["6"])
    sound = (
        hour24.is_between(0, 23)
        & minute.is_between(0, 59)
        & second.fill_null(0).is_between(0, 59)
        & (half.is_null() | hour.is_between(1, 12))
        & zone_known
    ).fill_null(False)
    return hour24 * 3600 + minute * 60 + second.fill_null(0), micros, offset, sound


def _offsets(zone: pl.Series) -> tuple[pl.Series, pl.Series]:
    upper = zone.str.to_uppercase()
    by_name = upper.replace_strict(_ZONES, default=None, return_dtype=pl.Int64)
    sign = upper.str.extract(r"([+-])\d", 1)
    hours = upper.str.extract(r"[+-](\d{1,2})", 1).cast(pl.Int64, strict=False)
    minutes = upper.str.extract(r"[+-]\d{1,2}:?(\d{2})", 1).cast(pl.Int64, strict=False).fill_null(0)
    total = hours * 60 + minutes
    by_number = pl.select(pl.when(sign == "-").then(-total).otherwise(total)).to_series()
    offset = by_number.fill_null(by_name)
    return offset, zone.is_null() | offset.is_not_null()


def convert_times(values: pl.Series) -> pl.Series:
    """Times of the day; null where a cell is none."""
    seconds, micros, _, sound = _times(values.str.strip_prefix(native.MARK))
    only = values.str.contains(TIME_ONLY)
    nanos = (seconds * 1_000_000 + micros.fill_null(0)) * 1_000
    return pl.select(pl.when(sound & only).then(nanos).otherwise(None).cast(pl.Time)).to_series()
