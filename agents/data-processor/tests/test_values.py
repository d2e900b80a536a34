# ruff: noqa: RUF001  -- characters that look alike are what this file is about
"""Cells become values: numbers, dates, times and booleans of many conventions, by column."""

import datetime
from typing import Any

import polars as pl
import pytest
from agora_data_processor import convert, infer
from agora_data_processor.conventions import Hints


def column(*cells: str | None, name: str = "value", hints: Hints | None = None) -> tuple[str, list[Any]]:
    """The type found for a column and its values."""
    series = convert.trimmed(pl.Series(cells, dtype=pl.String))
    plan = infer.infer({name: series}, hints or Hints())[name]
    return plan.kind, convert.convert(series, plan).to_list()


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("1,234.50", "12", "-0.5"), [1234.5, 12.0, -0.5]),
        (("1.234,50", "12", "-0,5"), [1234.5, 12.0, -0.5]),
        (("1 234,50", "1\u202f000,25"), [1234.5, 1000.25]),
        (("12,34,567.00", "1,00,000.50"), [1234567.0, 100000.5]),
        (("1'234.50", "99.05"), [1234.5, 99.05]),
        (("$1,200.00", "(3.20)", "$ 5"), [1200.0, -3.2, 5.0]),
        (("1,00 €", "-2,50 €", "3,00- €"), [1.0, -2.5, -3.0]),
        (("CHF 1'234.50", "CHF 2.00"), [1234.5, 2.0]),
        (("12.5 %", "7%", "0.05%"), [0.125, 0.07, 0.0005]),
        (("1e5", "2.5E-3"), [100000.0, 0.0025]),
        (("−5,5", "6,25"), [-5.5, 6.25]),
        (("1,234.5", "2,5", "3.25", "4.75"), [1234.5, 2.5, 3.25, 4.75]),
    ],
)
def test_decimals_of_many_places_are_read(cells: tuple[str, ...], values: list[float | None]) -> None:
    """
    A column's decimal mark follows from its cells; one cell in the other convention is still understood.
    """
    kind, found = column(*cells)
    assert kind == "decimal"
    assert found == pytest.approx(values)


def test_integers_keep_every_digit() -> None:
    """
    Integers are read from their digits, grouped or not, and never pass through a float.
    """
    assert column("9007199254740993", "1,000", "-5") == ("integer", [9007199254740993, 1000, -5])


@pytest.mark.parametrize(
    "cells",
    [
        ("007", "012", "100"),
        ("+49 30 1234567", "+1 617 5550100"),
        ("12345678901234567890", "1"),
        ("12B", "13", "14A", "15"),
    ],
)
def test_codes_stay_text(cells: tuple[str, ...]) -> None:
    """
    Leading zeros, telephone numbers, too many digits and house numbers are text, cell by cell as written.
    """
    assert column(*cells) == ("text", list(cells))


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (("13/02/2024", "01/03/2024"), ["2024-02-13", "2024-03-01"]),
        (("02/13/2024", "01/03/2024"), ["2024-02-13", "2024-01-03"]),
        (("31.12.2023", "01.02.24"), ["2023-12-31", "2024-02-01"]),
        (("2024-02-29", "2024/3/1"), ["2024-02-29", "2024-03-01"]),
        (("5. März 2024", "12. Dezember 2023"), ["2024-03-05", "2023-12-12"]),
        (("1er août 2022", "14 juillet 2023"), ["2022-08-01", "2023-07-14"]),
        (("Mon, 3 Jun 2024", "14-Feb-99", "Dec 31, 2021"), ["2024-06-03", "1999-02-14", "2021-12-31"]),
        (("2024年1月31日", "2024年12月5日"), ["2024-01-31", "2024-12-05"]),
        (("01/02/2024", "01/03/2024", "01/04/2024", "01/05/2024", "01/06/2024", "02/01/2024"),
         ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06", "2024-02-01"]),
    ],
)  # fmt: skip
def test_dates_of_many_places_are_read(cells: tuple[str, ...], days: list[str]) -> None:
    """
    The order of day and month follows from the column: from impossible months, or from rows in sequence.
    """
    assert column(*cells, name="date") == ("date", [datetime.date.fromisoformat(day) for day in days])


def test_an_undecidable_order_is_said_to_be_ambiguous() -> None:
    """
    Where nothing tells day from month, the plan says so, and what the customer states decides.
    """
    cells = pl.Series(["03/04/2024", "05/01/2024"])
    assert infer.infer({"d": cells}, Hints())["d"].ambiguous
    plan = infer.infer({"d": cells}, Hints(day_first=True))["d"]
    assert (plan.order, plan.ambiguous) == ("dmy", False)


def test_moments_with_zones_become_utc() -> None:
    """
    Datetimes that state their zone are brought to UTC; without any zone they stay as they are.
    """
    kind, found = column("2024-01-01T10:00:00+05:30", "2024-01-01 10:00 UTC", "2024-07-01T10:00:00Z")
    assert kind == "datetime"
    assert [value.isoformat() for value in found] == [
        "2024-01-01T04:30:00+00:00", "2024-01-01T10:00:00+00:00", "2024-07-01T10:00:00+00:00"
    ]  # fmt: skip
    assert column("2024-01-01 10:00", "2024-01-02 11:30:15.5")[1][1] == datetime.datetime(
        2024, 1, 2, 11, 30, 15, 500000
    )


def test_times_with_and_without_halves_of_the_day() -> None:
    """
    Times of day are read; twelve at night is zero.
    """
    found = column("9:05 AM", "12:30 PM", "12:01 am", "23:59")
    assert found == (
        "time",
        [datetime.time(9, 5), datetime.time(12, 30), datetime.time(0, 1), datetime.time(23, 59)],
    )


def test_booleans_in_mixed_words() -> None:
    """
    Yes and no in several languages and digits beside words are booleans; digits alone are numbers.
    """
    assert column("yes", "No", "TRUE", "0", "1", "n") == ("boolean", [True, False, True, False, True, False])
    assert column("ja", "nein", "Ja") == ("boolean", [True, False, True])
    assert column("0", "1", "1")[0] == "integer"
    assert column("S", "S", "S")[0] == "text"


def test_words_for_no_value_depend_on_the_type() -> None:
    """
    "unknown" is no value among numbers but a word among words; NA is Namibia among country codes.
    """
    assert column("1", "unknown", "3") == ("integer", [1, None, 3])
    assert column("red", "unknown", "N/A", "-") == ("text", ["red", "unknown", None, None])
    assert column("DE", "NA", "US", "FR") == ("text", ["DE", "NA", "US", "FR"])
    assert column("5", "k.A.", "7", hints=Hints(null_tokens=frozenset({"7"}))) == ("integer", [5, None, None])


def test_text_read_in_the_wrong_encoding_once_is_mended() -> None:
    """
    UTF-8 that was saved after being read as Windows-1252 comes back; a real capital A with tilde stays.
    """
    assert column("MÃ¼ller", "KÃ¶ln", "SÃO PAULO", "CafÃ©\u200b ")[1] == [
        "Müller",
        "Köln",
        "SÃO PAULO",
        "Café",
    ]
