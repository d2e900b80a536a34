"""The author's commands: new, validate, run, eval."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agora.cli import app
from typer.testing import CliRunner, Result

ECHO = Path(__file__).parents[3] / "agents" / "echo"


@pytest.fixture
def agora(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `agora …` in an empty folder, with no model keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGORA_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def command(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return command


def test_a_new_agent_is_valid_and_passes_its_own_test(agora: Any, tmp_path: Path) -> None:
    """
    What `agora new` makes passes `agora validate`, runs, evaluates, and passes the test that comes with it.
    """
    assert agora("new", "scaffold-check").exit_code == 0
    folder = tmp_path / "scaffold-check"
    checked = agora("validate", folder, "--json")
    assert json.loads(checked.stdout)["steps"] == {"count": "Count the words"}

    ran = agora("run", folder, "--input", '{"text": "one two"}', "--json")
    assert json.loads(ran.stdout)["output"]["words"] == 2
    assert agora("eval", folder, "--cases", folder / "evals/cases.jsonl", "--out", "out.jsonl").exit_code == 0

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout


@pytest.mark.parametrize("name", ["Bad_Name", "a b", "../x", "", "-a"])
def test_a_new_agent_needs_a_slug(agora: Any, tmp_path: Path, name: str) -> None:
    """
    A name that is no slug is refused as a misuse, and nothing is written.
    """
    result = agora("new", "--", name)

    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "my-agent" in result.stderr


def test_a_new_agent_overwrites_nothing(agora: Any, tmp_path: Path) -> None:
    """
    A folder that is not empty is left as it is.
    """
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")

    assert agora("new", "taken").exit_code == 2
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no pyproject.toml"),
        ({"pyproject.toml": "[project"}, "cannot be read"),
        ({"pyproject.toml": "[project]"}, 'needs one line under [project.entry-points."agora.agents"]'),
        (
            {
                "pyproject.toml": '[project.entry-points."agora.agents"]\nx = "broken_module_a:agent"',
                "broken_module_a.py": "x = 1\nraise KeyError('why')",
            },
            "broken_module_a.py, line 2: KeyError: 'why'",
        ),
        (
            {
                "pyproject.toml": '[project.entry-points."agora.agents"]\nx = "broken_module_b:agent"',
                "broken_module_b.py": "agent = 1",
            },
            "is not an agora.Agent",
        ),
    ],
)
def test_a_folder_that_is_no_agent_says_why(
    agora: Any, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    """
    A missing or broken agent ends in one sentence with the place, never in a traceback.
    """
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    result = agora("validate", tmp_path)

    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_run_prints_its_output_and_notes_its_steps(agora: Any, tmp_path: Path) -> None:
    """
    The output goes to stdout as JSON; progress, what steps write, steps and usage to stderr. An input may come from a file.
    """
    (tmp_path / "in.json").write_text('{"text": "hello", "steps": 2}')
    result = agora("run", ECHO, "--input", "@in.json")

    assert json.loads(result.stdout)["text"] == "hello"
    assert "\nhello\ndone: Echo the text" in result.stderr
    assert "visit 2 of 2 (100%)" in result.stderr
    assert "used: 1 tasks" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--input", "{"], 2, "not JSON"),
        (["--input", "@missing.json"], 2, "No such file"),
        (["--input", "{}"], 1, "missing required field `text`"),
        (["--input", '{"text":"x","fail":"rejected"}'], 1, "asked_to_reject"),
        (["--input", '{"text":"x"}', "--config", '{"x":1}'], 1, "unknown field `x`"),
    ],
)
def test_a_run_that_cannot_be_says_why(agora: Any, arguments: list[str], code: int, message: str) -> None:
    """
    A misuse ends with 2, a rejected input with 1, both with the reason and without a traceback.
    """
    result = agora("run", ECHO, *arguments)

    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_eval_answers_each_line_in_order(agora: Any, tmp_path: Path) -> None:
    """
    Every line of the cases gets its line, in order, though slow ones end later; a bad line stops nothing.
    """
    lines = [
        '\ufeff{"id": "slow", "input": {"text": "a", "delay_ms": 60}}',
        '{"id": 2, "input": {"text": "b"}}',
        "",
        "not json",
        '{"input": {"text": "c"}}',
        '{"id": "no-input"}',
        '["id"]',
        '{"id": "unknown", "input": {"text": "d", "extra": 1}}',
        '{"id": "rejected", "input": {"text": "e", "fail": "rejected"}}',
        "[" * 100_000,
        '{"id": "last", "input": {"text": "f"}}',
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(lines))
    result = agora("eval", ECHO, "--cases", "cases.jsonl", "--out", "deep/out.jsonl", "--json")
    answers = [json.loads(line) for line in (tmp_path / "deep" / "out.jsonl").read_text().splitlines()]

    assert result.exit_code == 0
    assert [(line["id"], line.get("error", {}).get("code")) for line in answers] == [
        ("slow", None),
        (2, None),
        (None, "malformed_case"),
        (None, "malformed_case"),
        ("no-input", "malformed_case"),
        (None, "malformed_case"),
        ("unknown", "invalid_input"),
        ("rejected", "asked_to_reject"),
        (None, "malformed_case"),
        ("last", None),
    ]
    assert answers[0]["output"] == {
        "deliverable": "full",
        "delivered_units": None,
        "mode": "baseline",
        "text": "a",
    }
    summary = json.loads(result.stdout)
    assert (summary["cases"], summary["failed"]) == (10, 7)


def test_eval_survives_a_line_of_any_length(
    agora: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A line beyond the limit is an error of that case alone.
    """
    monkeypatch.setattr("agora.cli.evaluate.LINE_BYTES_MAX", 1000)
    long = json.dumps({"id": "long", "input": {"text": "x" * 5000}})
    (tmp_path / "cases.jsonl").write_text(f'{long}\n{{"id": "next", "input": {{"text": "a"}}}}\n')
    agora("eval", ECHO, "--cases", "cases.jsonl", "--out", "out.jsonl")
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    assert "longer than 1000 bytes" in answers[0]["error"]["detail"]
    assert [line["id"] for line in answers] == [None, "next"]


def test_eval_with_a_wrong_config_does_nothing(agora: Any, tmp_path: Path) -> None:
    """
    A configuration that does not fit ends the command before any case is run.
    """
    (tmp_path / "cases.jsonl").write_text('{"id": 1, "input": {"text": "a"}}\n')
    (tmp_path / "config.json").write_text('{"x": 1}')
    result = agora("eval", ECHO, "--cases", "cases.jsonl", "--out", "out.jsonl", "--config", "config.json")

    assert result.exit_code == 1
    assert "invalid_config" in result.stderr
    assert not (tmp_path / "out.jsonl").exists()
