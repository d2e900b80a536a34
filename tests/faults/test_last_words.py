"""What a fault test tells of the processes' logs when it fails."""

import json
from pathlib import Path

import pytest

from tests.faults.last_words import told_on_failure


def _log(folder: Path, name: str, *entries: dict[str, object] | str) -> None:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in entries]
    (folder / f"{name}.log").write_text("\n".join(lines) + "\n")


def _error(event: str, at: int) -> dict[str, object]:
    frame = {"filename": "store.py", "lineno": 7, "name": "insert"}
    cause = {"exc_type": "InterfaceError", "exc_value": "connection is closed", "frames": [frame]}
    return {"event": event, "level": "error", "timestamp": f"12:00:0{at}", "exception": [cause]}


def test_the_last_errors_of_each_process_are_told_when_the_block_fails(tmp_path: Path) -> None:
    """
    Of each log the last errors with where they came from, the same one once, no warnings, and nothing unreadable;
    and how each log ends.
    """
    _log(
        tmp_path,
        "billing",
        {"event": "ready", "level": "info"},
        _error("too old", 1),
        _error("command failed", 2),
        {"event": "sweep failed", "level": "warning"},
        "{ no JSON",
        "a traceback of somebody else",
        _error("relay failed", 3),
        _error("command failed", 4),
    )
    _log(tmp_path, "catalog", {"event": "ready", "level": "info"})
    told: list[str] = []

    with pytest.raises(TimeoutError), told_on_failure(tmp_path, told.append, of_each=2):
        raise TimeoutError

    where = "\n    InterfaceError: connection is closed\n        store.py:7 in insert"
    assert [
        f"billing: 12:00:03 relay failed{where}",
        f"billing: 12:00:04 command failed{where}",
        'catalog at last: {"event": "ready", "level": "info"}',
        f"billing at last: {json.dumps(_error('command failed', 4))}",
    ] == told


@pytest.mark.parametrize(("passed", "expected"), [(True, 0), (False, 2)])
def test_nothing_is_told_of_a_test_that_has_passed(tmp_path: Path, passed: bool, expected: int) -> None:
    """
    The verdict decides, however many errors there were on the way.
    """
    _log(tmp_path, "billing", _error("command failed", 1))
    told: list[str] = []

    with told_on_failure(tmp_path, told.append) as verdict:
        verdict.passed = passed

    assert expected == len(told)
