"""The gates fail for what they are there for, with a sentence that says what to change."""

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from agora_contracts.catalogue import COMMANDS, EVENTS
from agora_contracts.gates import asyncapi, commands, recorded, rules, snapshot, sources
from agora_contracts.gates.messages import all_messages
from agora_contracts.gates.workspace import Workspace, find_workspace
from agora_contracts.metering import UsageIncomplete
from agora_contracts.runs import RunStarted
from agora_contracts.subjects import METERING_STREAM, RUNS_STREAM, Stream

STARTED = "events/agora.run.started.v1.json"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkout of its own, with everything written."""
    (tmp_path / "libs" / "contracts").mkdir(parents=True)
    (tmp_path / "libs" / "contracts" / "pyproject.toml").touch()
    made = find_workspace(tmp_path)
    assert commands.write(made) == 0
    return made


def problems(workspace: Workspace) -> list[str]:
    """What the gates say, without the marks that this checkout has no tests for."""
    return [one for one in commands.problems(workspace, "HEAD") if "no test shows" not in one]


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_was_just_written_holds(workspace: Workspace):
    """
    After `write` every gate holds, and writing again changes nothing.
    """
    assert [] == problems(workspace)
    before = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}

    assert commands.write(workspace) == 0

    assert before == {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("file", ["schemas/problem.json", "schemas/live/RunProgress.json"])
def test_a_schema_that_is_missing_is_named(workspace: Workspace, file: str):
    """
    The snapshot must have every message.
    """
    (workspace.contracts / file).unlink()

    (found,) = problems(workspace)

    assert f"libs/contracts/{file} is not what the contracts say" in found


def test_a_page_that_was_edited_is_named(workspace: Workspace):
    """
    Reference pages are written, never edited.
    """
    change(workspace.reference / "events.md", "# Events", "# Facts")

    (found,) = problems(workspace)

    assert "docs/reference/events.md is not what the contracts say" in found


def test_a_break_is_refused_by_write_and_check(workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    """
    When the snapshot knew a field that is gone, neither command lets it pass, and both say the way out.
    """
    file = workspace.schemas / STARTED
    change(file, '"seq": {', '"worker": {"type": "string"}, "seq": {')

    assert 1 == commands.write(workspace)
    assert 1 == commands.check(workspace)
    assert "data.worker is gone" in capsys.readouterr().err
    assert "worker" in file.read_text()


def test_a_break_of_the_committed_snapshot_is_found(workspace: Workspace):
    """
    Deleting the snapshot and writing it anew does not hide a break: the commit before still has it.
    """
    folder = workspace.root
    file = workspace.schemas / STARTED
    change(file, '"seq": {', '"worker": {"type": "string"}, "seq": {')
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "Contracts"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    file.unlink()
    assert 0 == commands.write(workspace)

    assert "events/agora.run.started.v1: data.worker is gone" in problems(workspace)


def test_a_recorded_example_must_decode(workspace: Workspace):
    """
    What was sent once must be readable for ever.
    """
    change(workspace.examples / STARTED, '"seq": 2', '"seq": "two"')

    found = problems(workspace)

    assert any("was sent once and no longer decodes" in one and "$.data.seq" in one for one in found)


def test_a_recorded_field_must_survive(workspace: Workspace):
    """
    An example that loses something through decoding and encoding tells of a removed field.
    """
    change(workspace.examples / STARTED, '"seq": 2', '"seq": 2, "worker": "w1"')

    assert any("loses $.data.worker" in one for one in problems(workspace))


def test_recorded_examples_only_grow(workspace: Workspace):
    """
    An example that is no longer written down in Python stays recorded.
    """
    file = workspace.examples / STARTED
    older = json.loads(file.read_text())
    older[0]["data"]["seq"] = 7
    file.write_text(json.dumps(older))

    assert 0 == commands.write(workspace)

    assert [7, 2] == [one["data"]["seq"] for one in json.loads(file.read_text())]
    assert [] == problems(workspace)


def test_an_example_of_no_message_is_named(workspace: Workspace):
    """
    Examples of messages that do not exist are not kept.
    """
    shutil.copy(workspace.examples / STARTED, workspace.examples / "events" / "agora.run.begun.v1.json")

    assert any("agora.run.begun.v1.json: there is no such message" in one for one in problems(workspace))


def test_every_message_has_examples_that_show_every_field():
    """
    The examples of this repository cover the whole catalogue.
    """
    workspace = find_workspace(Path(__file__).parent)

    assert [] == recorded.problems(workspace, all_messages())


def test_an_event_needs_producer_consumer_test_and_version():
    """
    Each thing that an event lacks is told.
    """
    lacking = msgspec.structs.replace(
        EVENTS[RunStarted], producer="nobody", consumers=(), type="agora.run.started"
    )

    found = rules.event_problems({}, [lacking])

    assert 4 == len(found)
    for said in ("is no service", "nobody consumes it", "no test shows", "must end in a version"):
        assert any(said in one for one in found)


def test_a_mark_of_no_event_is_told():
    """
    A test that claims to see an unknown event is a mistake, not a proof.
    """
    (found,) = rules.event_problems({"RunBegun": ["tests/test_runs.py:3"]}, [])

    assert "tests/test_runs.py:3 is marked as emitting RunBegun" in found


def test_a_command_needs_callers_and_a_process():
    """
    A command that nobody asks or answers is told, and one that never waits.
    """
    some = next(iter(COMMANDS.values()))
    lacking = msgspec.structs.replace(some, callers=(), service="nobody", deadline_seconds=0)

    found = rules.command_problems([lacking, lacking])

    assert any("which is no process" in one for one in found)
    assert any("nobody asks it" in one for one in found)
    assert any("more than 0 seconds" in one for one in found)
    assert any("on the same subject" in one for one in found)


def test_streams_may_not_share_subjects():
    """
    Overlapping subjects are told before the server refuses them, and so are events stored twice or nowhere.
    """
    greedy = Stream(name="GREEDY", subjects=["agora.evt.*.*.usage.>"], retention_days=1)
    incomplete = EVENTS[UsageIncomplete]

    shared = rules.stream_problems([METERING_STREAM, greedy], [incomplete])
    nowhere = rules.stream_problems([RUNS_STREAM], [incomplete])

    assert ["streams METERING and GREEDY share subjects", "UsageIncomplete: stored by METERING, GREEDY"] == [
        one.split(": agora")[0].split(", but")[0] for one in shared
    ]
    assert ["UsageIncomplete: stored by no stream, but the catalogue says METERING"] == nowhere


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.c", True),
        ("a.>", "a.b.c", True),
        ("a.b", "a.b.c", False),
        ("a.*.c", "a.b.>", True),
        ("*.b", "a.*", True),
    ],
)
def test_patterns_that_overlap(one: str, other: str, expected: bool):
    """
    Two patterns overlap when some subject matches both.
    """
    assert expected == rules.overlap(one, other)
    assert expected == rules.overlap(other, one)


def test_marks_are_read_from_tests_only(tmp_path: Path):
    """
    A mark counts on a test, a class of tests or a parameter; in a comment or on a helper it does not, nor as a
    call with the class alone, by which pytest would decorate the class and lose the test.
    """
    folder = tmp_path / "services" / "billing" / "tests"
    folder.mkdir(parents=True)
    (folder / "test_charges.py").write_text(
        "import pytest\n"
        "from agora_contracts import billing\n"
        "# @pytest.mark.emits.with_args(Commented)\n"
        "@pytest.mark.emits(Decorated)\n"
        "def test_gone(): ...\n"
        "@pytest.mark.emits.with_args(ChargeSettled)\n"
        "async def test_one(): ...\n"
        "@pytest.mark.emits.with_args(billing.ChargeAdjusted)\n"
        "class TestMore: ...\n"
        "@pytest.mark.emits.with_args(Helper)\n"
        "def helper(): ...\n"
        "@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.emits.with_args(CreditToppedUp))])\n"
        "def test_two(n): ...\n"
    )

    found = sources.emitted_in_tests(tmp_path)

    assert {"ChargeSettled", "ChargeAdjusted", "CreditToppedUp"} == set(found)
    assert ["services/billing/tests/test_charges.py:6"] == found["ChargeSettled"]


def test_foreign_imports_are_found(tmp_path: Path):
    """
    Contracts may import themselves, msgspec and the standard library.
    """
    package = tmp_path / "agora_contracts"
    package.mkdir()
    (package / "bad.py").write_text("import msgspec, json\nfrom agora_kit import broker\nimport nats.js\n")

    assert ["bad.py:2 imports agora_kit", "bad.py:3 imports nats.js"] == sources.foreign_imports(package)


def test_the_asyncapi_document_is_closed():
    """
    Every reference of the document leads to something in it, and every message of the catalogue is there.
    """
    document = asyncapi.document()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        target: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(target, dict)
            assert part in target, reference
            target = target[part]
    assert {message.struct.__name__ for message in all_messages()} == set(document["components"]["messages"])


def test_a_tree_without_history_is_compared_with_its_own_snapshot(workspace: Workspace):
    """
    An exported tree has no commits; its snapshot is then what must not be broken.
    """
    assert snapshot.committed(workspace, "HEAD") is None
    change(workspace.schemas / STARTED, '"seq": {', '"worker": {"type": "string"}, "seq": {')

    assert "events/agora.run.started.v1: data.worker is gone" in problems(workspace)
