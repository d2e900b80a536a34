"""A file's bytes become records: encodings, dialects, layouts, and what is broken on the way."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from agora_data_processor import dialect, layout

type Clean = Callable[..., Any]

_GERMAN = "Nr;Name;Ort\n1;Jürgen Müller;Köln\n2;Käthe Groß;Düsseldorf\n3;Björn Weiß;München\n"
_POLISH = (
    "Nr;Nazwisko;Miasto\n1;Łukasz Wójcik;Łódź\n2;Małgorzata Dąbrowska;Kraków\n3;Żaneta Kamińska;Gdańsk\n"
)
_RUSSIAN = "Номер;Имя;Город\n1;Иван;Москва\n2;Ольга;Казань\n3;Пётр;Тверь\n"
_JAPANESE = "番号,氏名,都市\n1,山田太郎,東京\n2,鈴木はなこ,大阪\n3,佐藤,名古屋\n"
_GREEK = "Αριθμός;Όνομα;Πόλη\n1;Γιώργος;Αθήνα\n2;Ελένη;Θεσσαλονίκη\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (_GERMAN, "cp1252"), (_GERMAN, "utf-8"), (_GERMAN, "utf-8-sig"), (_GERMAN, "utf-16"), (_GERMAN, "utf-16-le"),
        (_GERMAN, "mac_roman"), (_POLISH, "cp1250"), (_POLISH, "iso8859-2"), (_RUSSIAN, "cp1251"), (_RUSSIAN, "koi8-r"),
        (_JAPANESE, "cp932"), (_JAPANESE, "euc_jp"), (_GREEK, "cp1253"),
    ],
)  # fmt: skip
def test_encodings_are_found(text: str, encoding: str, clean: Clean) -> None:
    """
    A small table is read right in the encodings of its language.
    """
    result = clean(text.encode(encoding))
    delimiter = ";" if ";" in text else ","
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    assert list(result.frame.columns) == rows[0]
    assert [tuple(map(str, row)) for row in result.rows] == [tuple(row) for row in rows[1:]]


def test_single_lines_in_another_encoding_are_read_in_theirs(clean: Clean) -> None:
    """
    One pasted Windows-1252 line does not spoil a UTF-8 file, and the report counts it.
    """
    result = clean("id,name\n1,Zoë\n2,Åsa\n".encode() + "3,Müller\n".encode("cp1252") + "4,naïve\n".encode())
    assert [row[1] for row in result.rows] == ["Zoë", "Åsa", "Müller", "naïve"]
    assert result.cleaned.loaded[0].repairs.redecoded_lines == 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^"])
def test_delimiters_are_found_between_decimal_commas_and_texts(delimiter: str) -> None:
    """
    The delimiter is the one that gives rows of one length and cells that look like values.
    """
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows(
        [["id", "price", "text"], ["1", "1,50", "a; b, c"], ["2", "2,75", "x | y"], ["3", "0,10", "say ^ hi"]]
    )
    assert dialect.detect(out.getvalue().splitlines(keepends=True)).delimiter == delimiter


def test_words_are_not_split_at_spaces(clean: Clean) -> None:
    """
    A single column of dates in words is one column.
    """
    assert clean("d\n1. März 2024\n12. Dezember 2023\n").kinds == {"d": "date"}


def test_lines_quoted_as_a_whole_are_unwrapped(clean: Clean) -> None:
    """
    Where a program has put every line into quotes, its fields come out again.
    """
    assert clean('"a,b,c"\n"1,2,""x, y"""\n"4,5,z"\n').rows == [(1, 2, "x, y"), (4, 5, "z")]


def test_titles_above_and_notes_below_are_no_data(clean: Clean) -> None:
    """
    What stands above the header is skipped; what stands below the data is rejected with its reason and line.
    """
    result = clean("Report 2024\n\nid,name,x\n1,a,2\n2,b,3\n3,c,4\nTotal,,9\nSource: us\n")
    assert (result.found.header_line, result.found.names) == (3, ["id", "name", "x"])
    assert result.rows == [(1, "a", 2), (2, "b", 3), (3, "c", 4)]
    assert {(row["reason"], row["line"]) for row in result.rejected} == {
        ("total_row", "7"),
        ("footer_note", "8"),
    }


def test_a_category_called_total_is_data(clean: Clean) -> None:
    """
    Where "Total" stands in many complete rows, it is a value and not the sum of the table.
    """
    lines = [
        f"{sex},{year},{year - 2000}" for year in range(2001, 2009) for sex in ("Male", "Female", "Total")
    ]
    assert clean("sex,year,n\n" + "\n".join(lines) + "\n").cleaned.rejected == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (",2023,,2024,\nRegion,Sales,Units,Sales,Units\nN,1,2,3,4\nS,2,3,4,5\n",
         ["Region", "2023 Sales", "2023 Units", "2024 Sales", "2024 Units"]),
        ("t,m\n(s),(kg)\n1,2.5\n2,3.5\n", ["t (s)", "m (kg)"]),
        ("Country,2019,2020\nA,1,2\nB,4,5\n", ["Country", "2019", "2020"]),
        ("1,Anna,3.5\n2,Bob,4.5\n", ["column_1", "column_2", "column_3"]),
        ("a,a,,b\n1,2,3,4\n5,6,7,8\n", ["a", "a_2", "column_3", "b"]),
        ("mpg cyl\nMazda 21 6\nFord 22 4\n", ["column_1", "mpg", "cyl"]),
    ],
)  # fmt: skip
def test_headers_of_all_kinds_give_unique_names(text: str, names: list[str], clean: Clean) -> None:
    """
    Group titles, units, years, no header, twins, blanks, and R's short header give one unique name each.
    """
    assert clean(text).frame.columns == names


def test_names_stay_unique_beside_made_up_ones() -> None:
    """
    A made-up name never takes one that the file has.
    """
    assert layout.unique_names(["a", "a", "a_2", ""]) == ["a", "a_3", "a_2", "column_4"]


def test_broken_records_cost_only_themselves(clean: Clean) -> None:
    """
    An open quote and rows of wrong length are rejected with their lines; all others come through.
    """
    result = clean('a,b,c\n1,"open,2\n3,y,4\n5,"two\nlines",6\n7,w\n8,w,9,10\n11,z,12\n')
    assert result.rows == [(3, "y", 4), (5, "two\nlines", 6), (11, "z", 12)]
    assert {(row["line"], row["reason"]) for row in result.rejected} == {
        ("2", "unclosed_quote"), ("6", "too_few_fields"), ("7", "too_many_fields")
    }  # fmt: skip


def test_short_rows_as_a_habit_are_filled_up(clean: Clean) -> None:
    """
    A program that leaves off trailing empty cells damages nothing: many short rows are padded.
    """
    result = clean("a,b,c\n1,x,2\n2,y\n3,z\n4,w,1\n5,q\n6,r,3\n")
    assert (result.cleaned.rows_out, result.rows[1]) == (6, (2, "y", None))


def test_json_in_its_shapes(clean: Clean) -> None:
    """
    Arrays, lines, columns and wrapped lists give the same table; nested fields get dotted names.
    """
    records = [{"id": 1, "u": {"n": "a"}, "v": 1.5}, {"id": 2, "u": {"n": "b"}, "v": 2.25}]
    shapes = [
        json.dumps(records),
        "\n".join(map(json.dumps, records)),
        json.dumps({"meta": {"x": 1}, "data": records}, indent=1),
        json.dumps({"id": [1, 2], "u.n": ["a", "b"], "v": [1.5, 2.25]}),
        json.dumps([["id", "u.n", "v"], [1, "a", 1.5], [2, "b", 2.25]]),
    ]
    for shape in shapes:
        result = clean(shape, name="t.json")
        assert (result.frame.columns, result.rows) == (["id", "u.n", "v"], [(1, "a", 1.5), (2, "b", 2.25)])


def test_broken_json_lines_are_rejected_by_line(clean: Clean) -> None:
    """
    A line that is no JSON, or no record, is kept among the rejected.
    """
    result = clean('{"a": 1}\nnonsense\n{"a": 2}\n5\n', name="t.jsonl")
    assert result.rows == [(1,), (2,)]
    assert [(row["line"], row["reason"]) for row in result.rejected] == [
        ("2", "invalid_json"),
        ("4", "not_a_record"),
    ]
