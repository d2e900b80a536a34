"""Transforms, rules, several files, and the account of every row."""

import datetime
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from agora_data_processor import cleaning, limits, pii, tables
from agora_data_processor.faults import TableError
from agora_data_processor.job import (
    Cast,
    Deduplicate,
    Drop,
    Fill,
    Filter,
    Job,
    Options,
    PiiRedact,
    Rename,
    Rule,
    Trim,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

type Clean = Callable[..., Any]

_PEOPLE = "id,name,age,joined\n1,Ann  Lee,34,2024-01-05\n2,Bob,,2024-02-05\n3,Cid,-1,2024-03-05\n3,Cid,-1,2024-03-05\n4,Dee,200,2024-04-05\n"


def test_transforms_run_in_their_order(clean: Clean) -> None:
    """
    Each transform sees the table as the one before left it, under the names it then has.
    """
    job = Job(
        transforms=[
            Rename(columns={"name": "person"}),
            Trim(columns=["person"]),
            Fill(columns=["age"], value=0),
            Deduplicate(),
            Filter(column="age", operator="<", value=100),
            Drop(columns=["joined"]),
        ]
    )
    result = clean(_PEOPLE, job=job)
    assert result.frame.columns == ["id", "person", "age"]
    assert result.rows == [(1, "Ann Lee", 34), (2, "Bob", 0), (3, "Cid", -1)]
    assert result.cleaned.reasons == {"duplicate": 1, "filtered": 1}
    assert result.cleaned.rows_in == 5


def test_a_cast_reads_the_cells_anew(clean: Clean) -> None:
    """
    A cast to text keeps leading zeros; a cast to a number rejects what is none, whatever its share.
    """
    text = "a,b\n1,007\nx,8\ny,9\n"
    assert clean(text, job=Job(transforms=[Cast(columns=["b"], type="text")])).rows[0] == ("1", "007")
    result = clean(text, job=Job(transforms=[Cast(columns=["a"], type="integer")]))
    assert result.rows == [(1, "007")]
    assert [(row["line"], row["reason"], row["value"]) for row in result.rejected] == [
        ("3", "not_integer", "x"), ("4", "not_integer", "y")
    ]  # fmt: skip


def test_rules_reject_or_report_with_lines_and_values(clean: Clean) -> None:
    """
    A broken rule is counted with the rows' lines; a row that breaks several is rejected once.
    """
    job = Job(
        rules=[
            Rule(field="age", check="range", min=0, max=120),
            Rule(field="age", check="not_null", on_fail="report"),
            Rule(field="id", check="unique"),
            Rule(field="name", check="regex", pattern=r"[A-Z].*"),
            Rule(field="name", check="in_set", values=["Ann  Lee", "Bob", "Cid"]),
            Rule(field="joined", check="range", min="2024-01-01"),
        ]
    )
    result = clean(_PEOPLE, job=job)
    counted = {
        (tally.column, tally.rule.check): (tally.count, tally.examples)
        for tally in result.cleaned.tallies
        if tally.count
    }
    assert counted == {
        ("age", "range"): (3, [(4, "-1"), (5, "-1"), (6, "200")]),
        ("age", "not_null"): (1, [(3, None)]),
        ("id", "unique"): (1, [(5, "3")]),
        ("name", "in_set"): (1, [(6, "Dee")]),
    }
    assert [row[0] for row in result.rows] == [1, 2]
    assert result.cleaned.reasons == {"rule_range": 3}


def test_a_type_rule_counts_what_does_not_fit(clean: Clean) -> None:
    """
    A rule on the type rejects the rows that break it, or makes such cells null where it only reports.
    """
    text = "a\n1\nx\ny\n4\n"
    result = clean(text, job=Job(rules=[Rule(field="a", check="type", type="integer")]))
    assert (result.rows, result.cleaned.tallies[0].count) == ([(1,), (4,)], 2)
    kept = clean(text, job=Job(rules=[Rule(field="a", check="type", type="integer", on_fail="report")]))
    assert (kept.rows, kept.cleaned.tallies[0].count) == ([(1,), (None,), (None,), (4,)], 2)


@pytest.mark.parametrize(
    ("job", "code", "place"),
    [
        (Job(transforms=[Drop(columns=["nope"])]), "column_unknown", "transforms[0]"),
        (Job(transforms=[Fill(columns=["age"], value="x")]), "value_type", "transforms[0]"),
        (Job(transforms=[Rename(columns={"id": "age"})]), "column_twice", "transforms[0]"),
        (Job(transforms=[Filter(column="age", operator="in", value=5)]), "value_type", "transforms[0]"),
        (Job(rules=[Rule(field="age", check="range")]), "rule_incomplete", "rules[0]"),
        (Job(rules=[Rule(field="name", check="regex", pattern="(")]), "regex_invalid", "rules[0]"),
        (Job(rules=[Rule(field="name", check="range", min=1)]), "value_type", "rules[0]"),
        (Job(options=Options(encoding="latin-99")), "encoding_unknown", "0-table.csv"),
    ],
)
def test_a_job_that_does_not_fit_says_where_and_why(job: Job, code: str, place: str, clean: Clean) -> None:
    """
    What is asked for wrongly is refused with a code, the place in the input and what to change.
    """
    with pytest.raises(TableError) as caught:
        clean(_PEOPLE, job=job)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_columns_are_found_by_the_names_of_the_file(clean: Clean) -> None:
    """
    A column can be named as the file names it, and without regard to case.
    """
    assert clean(" ID ,Name\n1,a\n", job=Job(transforms=[Drop(columns=["id"])])).frame.columns == ["Name"]


def test_files_of_the_same_columns_become_one_table(clean: Clean) -> None:
    """
    Files are put together by name, each read in its own conventions; rejected rows name their file.
    """
    result = clean("id,price\n1,1.50\n2,x\n3,2.25\n4,1.00\n", "price;id\n1.234,50;5\n")
    assert result.rows == [(1, 1.5), (3, 2.25), (4, 1.0), (5, 1234.5)]
    assert [(row["source"], row["line"]) for row in result.rejected] == [("0-table.csv", "3")]


def test_files_that_do_not_fit_each_other_are_refused(clean: Clean) -> None:
    """
    Other columns, or another type of the same column, are named together with the file.
    """
    with pytest.raises(TableError, match="missing") as caught:
        clean("a,b\n1,2\n", "a,c\n1,2\n")
    assert (caught.value.code, caught.value.place) == ("columns_differ", "1-table.csv")
    with pytest.raises(TableError, match="integer in") as caught:
        clean("a,b\n1,2\n", "a,b\nx,2\n")
    assert caught.value.code == "schemas_differ"


def test_several_currencies_get_a_column_of_their_own(clean: Clean) -> None:
    """
    Amounts in several currencies are not mixed up: a column beside them says which is which.
    """
    result = clean("id,amount\n1,$5.00\n2,€7.50\n3,£1.25\n")
    assert result.rows == [(1, 5.0, "USD"), (2, 7.5, "EUR"), (3, 1.25, "GBP")]


def test_formulas_are_disarmed_in_the_csv_only(clean: Clean) -> None:
    """
    Text that a spreadsheet would calculate gets an apostrophe in the CSV; Parquet and telephone numbers do not.
    """
    result = clean("id,v\n1,=1+1\n2,+SUM(A1)\n3,-2+3+cmd|x\n4,@foo\n5,+49 30 123\n6,-\n")
    assert [row[1] for row in result.rows] == ["=1+1", "+SUM(A1)", "-2+3+cmd|x", "@foo", "+49 30 123", None]
    assert result.csv_text.splitlines()[1:] == [
        "1,'=1+1",
        "2,'+SUM(A1)",
        "3,'-2+3+cmd|x",
        "4,'@foo",
        "5,+49 30 123",
        "6,",
    ]


def test_personal_data_is_redacted_by_kind(clean: Clean) -> None:
    """
    E-mail, IBAN, card, telephone, social security and IP numbers are replaced; order numbers are not.
    """
    text = "jane@x.com, 4111 1111 1111 1111, DE89370400440532013000, +1 415 555 2671, 078-05-1120, 10.0.0.1"
    assert (
        pii.redact(text, ["email", "card", "iban", "phone", "ssn", "ip"])
        == "[EMAIL], [CARD], [IBAN], [PHONE], [SSN], [IP]"
    )
    assert pii.redact("order 1234 5678 9012 3456 of 2024-01-31, v1.2.3", ["card", "phone", "ip"]) == (
        "order 1234 5678 9012 3456 of 2024-01-31, v1.2.3"
    )
    result = clean("id,note\n1,ask jane@x.com\n2,none here at all\n", job=Job(transforms=[PiiRedact()]))
    assert result.rows == [(1, "ask [EMAIL]"), (2, "none here at all")]


def test_results_are_the_same_in_small_batches(clean: Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A table in many batches on disk gives the same rows, rejected rows, duplicates and rules as one in memory.
    """
    lines = [f"{n % 97},{'x' if n % 89 == 0 else n},2024-01-{n % 28 + 1:02d}" for n in range(1, 1001)]
    text = "key,amount,day\n" + "\n".join(lines) + "\n"
    job = Job(
        transforms=[Deduplicate(columns=["key", "day"])], rules=[Rule(field="amount", check="range", max=900)]
    )
    whole = clean(text, job=job)
    monkeypatch.setattr(limits, "BATCH_RECORDS", 37)
    monkeypatch.setattr(limits, "SPOOL_MEMORY_BYTES", 1_000)
    monkeypatch.setattr(limits, "TYPE_SAMPLE_ROWS", 100)
    pieces = clean(text, job=job)
    assert pieces.rows == whole.rows
    assert pieces.rejected == whole.rejected
    assert pieces.cleaned.profile.duplicates == whole.cleaned.profile.duplicates


def test_types_are_decided_by_all_rows_and_not_by_the_first(
    clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A column of numbers in which codes follow far below becomes text; no row is lost to the first impression.
    """
    monkeypatch.setattr(limits, "BATCH_RECORDS", 50)
    monkeypatch.setattr(limits, "TYPE_SAMPLE_ROWS", 60)
    cells = [str(n) for n in range(1000, 1400)] + [f"A{n}" for n in range(600)]
    result = clean("part\n" + "\n".join(cells) + "\n")
    assert (result.kinds, result.cleaned.rejected, result.frame["part"].to_list()) == (
        {"part": "text"},
        0,
        cells,
    )


@pytest.mark.parametrize(
    ("early", "late", "kind", "last"),
    [
        ("5", "12.75", "decimal", 12.75),
        ("2024-01-05", "2024-01-05 10:30", "datetime", datetime.datetime(2024, 1, 5, 10, 30)),
        ("1234", "00777", "text", "00777"),
        ("1.5", "7%", "text", "7%"),
    ],
)
def test_a_wider_type_far_below_loses_nothing(
    early: str, late: str, kind: str, last: object, clean: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Decimals below integers, times below dates and codes below numbers widen the type; no row is rejected.
    """
    monkeypatch.setattr(limits, "BATCH_RECORDS", 20)
    monkeypatch.setattr(limits, "TYPE_SAMPLE_ROWS", 10)
    share = 60 if kind == "text" else 5
    result = clean("v\n" + f"{early}\n" * 100 + f"{late}\n" * share)
    assert (result.kinds, result.cleaned.rejected) == ({"v": kind}, 0)
    assert result.frame["v"][-1] == last


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(min_size=1, max_size=300),
        st.text(alphabet=st.sampled_from("ab1,;\"\n\r\t |=-.€{}[]:\\'0"), min_size=1, max_size=200).map(
            str.encode
        ),
        st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=4), min_size=1, max_size=8).map(
            lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")
        ),
    )
)
def test_no_bytes_break_the_account(content: bytes, clean: Clean) -> None:
    """
    Whatever a file holds, it is refused with a typed error or every row is accounted for.
    """
    try:
        result = clean(content)
    except TableError as error:
        assert error.code and error.detail
        return
    assert result.cleaned.rows_in == result.cleaned.rows_out + result.cleaned.rejected
    assert result.frame.height == result.cleaned.rows_out
    assert len(result.rejected) == result.cleaned.rejected


def test_cleaning_twice_gives_the_same_files(clean: Clean) -> None:
    """
    The same file gives the same bytes: nothing depends on order of hashing, time or chance.
    """
    first = clean(_PEOPLE)
    data = (first.cleaned.parquet_path.read_bytes(), first.csv_text)
    second = clean(_PEOPLE)
    assert (second.cleaned.parquet_path.read_bytes(), second.csv_text) == data


def test_a_cleaned_csv_is_clean(clean: Clean) -> None:
    """
    What was cleaned once stays as it is when it is cleaned again.
    """
    messy = "Nr;Name;Betrag;Am;Aktiv\n1;Müller;1.234,50 €;31.12.2023;ja\n2;Groß;0,99 €;01.02.2024;nein\n"
    first = clean(messy.encode("cp1252"))
    second = clean(first.csv_text)
    assert (second.frame.schema, second.rows) == (first.frame.schema, first.rows)
    assert second.rows[0] == (1, "Müller", 1234.5, datetime.date(2023, 12, 31), True)


def test_an_empty_table_has_its_columns(clean: Clean) -> None:
    """
    A header without rows is an empty table, not an error.
    """
    result = clean("a,b\n")
    assert (result.frame.columns, result.cleaned.rows_in) == (["a", "b"], 0)
    assert isinstance(result.frame, pl.DataFrame)
    assert tables.LINE not in result.frame.columns
    assert issubclass(cleaning.UnevenAccount, Exception)
