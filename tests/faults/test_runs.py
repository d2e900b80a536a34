"""The short fault test: the same as `./dev faults runs --short`."""

import asyncio
import sys

from agora_local.platform import Platform

from tests.faults import runs
from tests.faults.account import good
from tests.faults.last_words import told_on_failure


async def test_every_accepted_run_ends_and_is_charged_once_through_kills(platform: Platform):
    """
    While processes, NATS, Postgres and Temporal are killed and workflows terminated, every accepted run ends,
    is charged exactly once and what it is owed, and no hold stays open.
    """

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    with told_on_failure(platform.logs_folder, say) as verdict:
        outcome = await runs.run(platform, runs.SHORT, say)
        found = outcome.findings
        verdict.passed = good(found)

    assert outcome.kills == runs.SHORT.kills
    assert [] == found.differences
    assert (0, 0, 0) == (found.lost, found.doubled, found.open_holds)
    assert found.accepted == found.ended == found.settled == runs.SHORT.runs
    await asyncio.to_thread(platform.wait_ready)
