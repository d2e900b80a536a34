"""The short fault test of money: the same as `./dev faults money --short`."""

import asyncio
import sys
from collections.abc import Iterator

import pytest
from agora_local.forkserver import ForkServer
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder

from tests.faults import money
from tests.faults.last_words import told_on_failure


@pytest.fixture
def own_platform(fork_server: ForkServer | None) -> Iterator[Platform]:
    """A platform that no other test uses: its JetStream store is deleted, with the consumers of all its processes."""
    with own_folder() as folder, Platform(folder / "home", Ports.free(), fork_server=fork_server) as running:
        running.wait_ready()
        yield running


@pytest.mark.xdist_group("platform")
async def test_no_usage_is_lost_or_doubled_and_the_ledger_is_exact_through_kills(own_platform: Platform):
    """
    While metering, billing, execution, NATS and Postgres are killed and JetStream loses its store, every usage event
    is counted once, and charges and ledger are what exact arithmetic makes of what was recorded.
    """

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    with told_on_failure(own_platform.logs_folder, say) as verdict:
        outcome = await money.run(own_platform, money.SHORT, say)
        found = outcome.accounts
        verdict.passed = found.clean

    assert (money.SHORT.kills, money.SHORT.postgres_stops, money.SHORT.stream_losses) == (
        outcome.kills,
        outcome.postgres_stops,
        outcome.stream_losses,
    )
    assert found.events >= money.SHORT.events
    assert [] == found.differences
    assert (0, 0, 0) == (found.lost, found.doubled, found.ledger_difference)
    assert 0 == found.unfinished
    await asyncio.to_thread(own_platform.wait_ready)
