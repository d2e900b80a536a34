"""The short fault test of money: the same as `./dev faults money --short`."""

import asyncio
import sys

from agora_local.platform import Platform

from tests.faults import money


async def test_no_usage_is_lost_or_doubled_and_the_ledger_is_exact_through_kills(platform: Platform):
    """
    While metering, billing, execution, NATS and Postgres are killed and JetStream loses its store, every usage event
    is counted once, and charges and ledger are what exact arithmetic makes of what was recorded.
    """
    outcome = await money.run(platform, money.SHORT, lambda line: print(line, file=sys.stderr))

    found = outcome.accounts
    assert (money.SHORT.kills, money.SHORT.postgres_stops, money.SHORT.stream_losses) == (
        outcome.kills,
        outcome.postgres_stops,
        outcome.stream_losses,
    )
    assert found.events >= money.SHORT.events
    assert [] == found.differences
    assert (0, 0, 0) == (found.lost, found.doubled, found.ledger_difference)
    assert 0 == found.unfinished
    await asyncio.to_thread(platform.wait_ready)
