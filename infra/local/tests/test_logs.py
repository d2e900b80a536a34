"""Many log files read as one."""

import json
from pathlib import Path

from agora_local.logs import follow, last_lines, log_names, sizes


def write(folder: Path, name: str, *lines: str) -> None:
    """Add lines to a log."""
    with (folder / f"{name}.log").open("a") as log:
        log.writelines(f"{line}\n" for line in lines)


def entry(second: int) -> str:
    """A line as our processes write it."""
    return json.dumps({"timestamp": f"2026-01-01T00:00:{second:02}Z", "event": str(second)})


def test_last_lines_are_in_the_order_of_their_time(tmp_path: Path) -> None:
    """
    Lines of several processes are merged; one without a time stays behind the line before it.
    """
    write(tmp_path, "billing", entry(1), "Traceback", entry(4))
    write(tmp_path, "gateway", entry(2), entry(3))

    merged = last_lines(tmp_path, ["billing", "gateway"], 10)

    expected = [
        ("billing", entry(1)),
        ("billing", "Traceback"),
        ("gateway", entry(2)),
        ("gateway", entry(3)),
        ("billing", entry(4)),
    ]
    assert expected == merged


def test_only_the_last_lines_of_a_long_log_are_read(tmp_path: Path) -> None:
    """
    The count holds for each log, also where it is larger than one block.
    """
    write(tmp_path, "billing", *(f"line {number} {'x' * 90}" for number in range(5_000)))

    lines = [line.split(" x")[0] for _, line in last_lines(tmp_path, ["billing"], 3)]

    assert lines == ["line 4997", "line 4998", "line 4999"]
    assert last_lines(tmp_path, ["billing"], 0) == []


def test_following_sees_new_lines_new_logs_and_a_log_that_was_replaced(tmp_path: Path) -> None:
    """
    Half a line is kept until its end comes; a log that became shorter is read from its beginning.
    """
    write(tmp_path, "billing", "old")
    begin = sizes(tmp_path)
    rounds = 0

    def stop() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            write(tmp_path, "billing", "first")
            write(tmp_path, "gateway", "hello")
            with (tmp_path / "billing.log").open("a") as log:
                log.write("half ")
        if rounds == 2:
            write(tmp_path, "billing", "and half")
        if rounds == 3:
            (tmp_path / "billing.log").unlink()
            write(tmp_path, "billing", "new")
        return rounds == 3

    seen = list(follow(tmp_path, lambda: log_names(tmp_path), begin=begin, stop=stop))

    expected = [("billing", "first"), ("gateway", "hello"), ("billing", "half and half"), ("billing", "new")]
    assert expected == seen
