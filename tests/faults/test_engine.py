"""The short fault test of the engine: the same as `./dev faults engine --short`."""

import sys

from agora_local.platform import Platform

from tests.faults import engine


async def test_runs_that_wait_and_swarms_end_once_through_kills(market: Platform):
    """
    While the worker is killed and NATS or PostgreSQL restarted, runs that ask people and swarms that call agents all end,
    each is charged once, and every decision comes true.
    """
    outcome = await engine.run(market, engine.SHORT, lambda line: print(line, file=sys.stderr))

    assert [] == outcome.findings.differences
    assert (0, 0, 0, 0) == (
        outcome.findings.lost, outcome.findings.doubled, outcome.findings.open_holds, outcome.approvals_lost,
    )  # fmt: skip
    assert engine.is_good(outcome)
    assert outcome.called >= engine.SHORT.agents
