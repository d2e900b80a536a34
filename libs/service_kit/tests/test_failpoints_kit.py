"""Failpoints: where a process dies, when it was asked to, and that nothing happens otherwise."""

import subprocess
import sys

import pytest
from agora_kit import failpoints
from agora_kit.database import Database
from sqlalchemy import text

PROGRAM = """
from agora_kit import failpoints
failpoints.arm_from_environment()
failpoints.enter("work")
failpoints.reach("here")
failpoints.reach("there")
print("once", flush=True)
failpoints.reach("there")
print("alive", flush=True)
"""


def run(points: str) -> tuple[int, str]:
    """The exit code of a program with these points, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={failpoints.VARIABLE: points},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("points", "code", "printed"),
    [
        ("", 0, "once\nalive\n"),
        ("other:here", 0, "once\nalive\n"),
        ("work:here", 86, ""),
        ("work:there:2", 86, "once\n"),
        ("other:here,work:there", 87, ""),
    ],
)
def test_a_process_dies_where_it_was_asked_to(points: str, code: int, printed: str):
    """
    At the n-th time of its point, with a code that tells which one it was; without a point it goes on.
    """
    assert (code, printed) == run(points)


def test_a_point_that_cannot_be_read_is_refused():
    """
    A point has a work and a place: a typing error does not pass for a test that crashed nothing.
    """
    with pytest.raises(ValueError, match="unpack"):
        failpoints.arm("nowhere")
    assert not failpoints.armed()


async def test_only_what_has_written_is_about_to_commit(database: Database, monkeypatch: pytest.MonkeyPatch):
    """
    The points of a commit are reached by transactions that wrote; reading ones pass.
    """
    reached: list[str] = []
    monkeypatch.setattr(failpoints, "armed", lambda: True)
    monkeypatch.setattr(failpoints, "reach", reached.append)

    async with database.system() as connection:
        await connection.execute(text("SELECT count(*) FROM outbox"))
    assert [] == reached
    async with database.system() as connection:
        await connection.execute(text("INSERT INTO inbox (consumer, message_id) VALUES ('a', 'b')"))
    assert ["before_commit", "after_commit"] == reached
