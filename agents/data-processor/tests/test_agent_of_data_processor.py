"""The agent as a customer meets it: input, output, usage, errors, and a model beside it."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora_data_processor
import msgspec
import polars as pl
import pytest
from agora import HealthContext, ModelReply, ModelUnavailable, RunFailed, alone
from agora.knowledge import LocalKnowledge
from agora.permissions import NoModels

AGENT = agora_data_processor.agent
EVALS = Path(__file__).parents[1] / "evals"
SAMPLE = Path(agora_data_processor.__file__).parent / "samples" / "va_education_beneficiaries_fy2010.csv"


class OneAnswer:
    """A model that always says the same."""

    available = True

    def __init__(self, text: str | None) -> None:
        self.text = text

    async def chat(self, messages: Any, **_: Any) -> ModelReply:
        """The answer, or none where there is none."""
        if self.text is None:
            raise ModelUnavailable("no model today")
        return ModelReply(
            text=self.text, input_tokens=1, output_tokens=1, model="test", cost=None, reconciled=True
        )


async def run(
    tmp_path: Path, files: dict[str, str | bytes], given: dict[str, Any], **options: Any
) -> alone.AloneResult:
    """Run the agent on files."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return await alone.run(
        AGENT, given, base=tmp_path, out=tmp_path / "out", cache=tmp_path / "cache", **options
    )


async def test_the_sample_comes_out_clean(tmp_path: Path) -> None:
    """
    The public table that ships with the package: 53 states and territories, the note below set aside.
    """
    result = await run(tmp_path, {"s.csv": SAMPLE.read_bytes()}, {"file": "s.csv"})
    output = result.output
    assert (output.rows_in, output.rows_out, output.rejected, output.deliverable) == (55, 53, 2, "full")
    assert (output.dialect.header_row, output.dialect.delimiter, output.dialect.encoding) == (3, ",", "utf-8")
    assert [column.type for column in output.schema] == ["text", "text", *["integer"] * 7]
    assert [step.title for step in result.steps] == [
        "Find out how the file is written", "Clean the table and account for every row",
        "Check the delivered files and sum up",
    ]  # fmt: skip
    table = pl.read_parquet(tmp_path / "out" / output.artifact_uri)
    assert table.filter(pl.col("State Name") == "ALABAMA").row(0)[-1] == 19_582
    report = json.loads((tmp_path / "out" / output.report_uri).read_text())
    assert (report["rows_out"], report["columns"][0]["distinct"]) == (53, 53)
    with (tmp_path / "out" / output.rejected_uri).open(newline="") as stream:
        assert [row["reason"] for row in csv.DictReader(stream)] == ["footer_note", "footer_note"]


async def test_a_job_is_metered_once_with_its_bytes(tmp_path: Path) -> None:
    """
    Usage is one job and the size of the file in gigabytes, exact to the byte.
    """
    content = "a,b\n1,2\n"
    result = await run(tmp_path, {"t.csv": content}, {"file": "t.csv"})
    assert {usage.meter: usage.quantity for usage in result.usage} == {
        "jobs": 1,
        "gigabytes": Decimal(8) / 10**9,
    }


async def test_sources_rules_and_destination_as_json(tmp_path: Path) -> None:
    """
    The long form of the input: sources, transforms, rules and a name for the results.
    """
    given = {
        "sources": [{"kind": "file", "uri": "a.csv"}, {"kind": "file", "uri": "b.csv"}],
        "transforms": [{"op": "rename", "columns": {"n": "count"}}, {"op": "deduplicate"}],
        "rules": [{"field": "count", "check": "range", "min": 0}],
        "destination": {"kind": "file", "uri": "merged"},
    }
    result = await run(tmp_path, {"a.csv": "id,n\n1,5\n2,-3\n", "b.csv": "id,n\n1,5\n3,7\n"}, given)
    output = result.output
    assert (output.rows_in, output.rows_out, output.rejected_by_reason) == (
        4,
        2,
        {"duplicate": 1, "rule_range": 1},
    )
    assert output.artifact_uri == "merged.parquet"
    assert msgspec.to_builtins(output.violations) == [
        {"field": "count", "check": "range", "count": 1, "examples": [{"row": 3, "value": "-3"}]}
    ]
    assert output.schema[1].source_name == "n"


async def test_a_deployment_can_hold_the_pipeline(tmp_path: Path) -> None:
    """
    What the configuration asks for is done to each file, unless the run asks for something itself.
    """
    config = {"transforms": [{"op": "drop", "columns": ["b"]}], "options": {"day_first": True}}
    files: dict[str, str | bytes] = {"t.csv": "a,b,d\n1,2,03/04/2024\n"}
    result = await run(tmp_path, files, {"file": "t.csv"}, config=config)
    assert [column.name for column in result.output.schema] == ["a", "d"]
    table = pl.read_parquet(tmp_path / "out" / result.output.artifact_uri)
    assert str(table["d"][0]) == "2024-04-03"


@pytest.mark.parametrize(
    ("files", "given", "code"),
    [
        ({}, {}, "file_missing"),
        ({"t.csv": "a\n1\n"}, {"file": "t.csv", "sources": [{"uri": "t.csv"}]}, "file_twice"),
        ({"t.csv": ""}, {"file": "t.csv"}, "file_empty"),
        ({"t.csv": "%PDF-1.4"}, {"file": "t.csv"}, "file_not_a_table"),
        ({"t.csv": "a\n1\n"}, {"file": "t.csv", "transforms": [{"op": "explode"}]}, "invalid_input"),
        (
            {"t.csv": "a\n1\n"},
            {"file": "t.csv", "rules": [{"field": "b", "check": "not_null"}]},
            "column_unknown",
        ),
        ({"t.csv": "a\n1\n"}, {"file": "t.csv", "destination": {"uri": "../x"}}, "invalid_input"),
        ({}, {"file": "../../etc/passwd"}, "file_outside"),
    ],
)
async def test_bad_input_fails_with_its_reason(
    files: dict[str, str | bytes], given: dict[str, Any], code: str, tmp_path: Path
) -> None:
    """
    A run on bad input ends with a stable code, is not tried again and uses nothing.
    """
    with pytest.raises(RunFailed) as caught:
        await run(tmp_path, files, given)
    assert caught.value.code == code


async def test_a_table_without_rows_is_an_empty_deliverable(tmp_path: Path) -> None:
    """
    Where nothing comes out, nothing is charged: the deliverable is empty and no job is metered.
    """
    result = await run(tmp_path, {"t.csv": "a,b\n"}, {"file": "t.csv"})
    assert result.output.deliverable == "empty"
    assert {usage.meter: usage.quantity for usage in result.usage}["jobs"] == 0


@pytest.mark.parametrize(
    ("answer", "mode"),
    [
        ("Of 2 rows read, 2 were kept and 0 rejected.", "assisted"),
        ("Of 97 rows read, 2 were kept.", "baseline"),
        ("", "baseline"),
        (None, "baseline"),
    ],
)
async def test_a_model_may_word_the_summary_but_not_change_a_number(
    answer: str | None, mode: str, tmp_path: Path
) -> None:
    """
    A model's text is used only if each of its numbers stands in the report.
    """
    result = await run(tmp_path, {"t.csv": "a,b\n1,x\n2,y\n"}, {"file": "t.csv"}, models=OneAnswer(answer))
    assert result.output.mode == mode
    assert (result.output.summary == answer) == (mode == "assisted")


async def test_health_exercises_every_tool(tmp_path: Path) -> None:
    """
    The health check does a small piece of work with each tool.
    """
    assert AGENT.health is not None
    tools = await AGENT.health(HealthContext(knowledge=LocalKnowledge(tmp_path), models=NoModels()))
    assert tools == {"file_io": True, "validate": True, "pii_redact": True, "excel": True}


def _cases() -> list[tuple[str, str, dict[str, Any]]]:
    cases = [json.loads(line) for line in (EVALS / "cases.jsonl").read_text().splitlines()]
    truths = [json.loads(line) for line in (EVALS / "expected.jsonl").read_text().splitlines()]
    return [(case["id"], case["input"]["file"], truth) for case, truth in zip(cases, truths, strict=True)][
        ::5
    ]


@pytest.mark.parametrize(
    ("identity", "file", "truth"), _cases(), ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_sample_of_the_evaluation(
    identity: str, file: str, truth: dict[str, Any], tmp_path: Path
) -> None:
    """
    Types, rows in, rows out and the rejected lines of every fifth evaluation file are right.
    """
    result = await alone.run(
        AGENT, {"file": file}, base=EVALS, out=tmp_path / "out", cache=tmp_path / "cache"
    )
    output = result.output
    with (tmp_path / "out" / output.rejected_uri).open(newline="") as stream:
        lines = sorted(int(row["line"]) for row in csv.DictReader(stream))
    assert {column.name: column.type for column in output.schema} == dict(
        zip(truth["names"], truth["types"], strict=True)
    )
    assert (output.rows_in, output.rows_out, lines) == (
        truth["rows_in"],
        truth["rows_out"],
        sorted(truth["rejected_lines"]),
    )
