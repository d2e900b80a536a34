"""Reading a swarm: its run, the newest plan on its blackboard, and the runs that it called, asked for at once."""

import asyncio

from agora_contracts.problems import AgoraError
from agora_contracts.runs import GetRun, Run
from agora_contracts.steering import ChildPage, ChildRun, ListChildren
from agora_contracts.swarms import FindingPage, ListFindings, PostedFinding
from agora_kit.broker import Broker

from agora_gateway.swarms.shapes import PACKAGE, SwarmDetailShape, swarm_detail

_CHILDREN_MAX = 400
"""A swarm has at most 200 agents; a plan that was revised much is still read whole."""
_PAGE = 200


async def swarm_run(broker: Broker, tenant: str, swarm: str) -> Run:
    """The run of a swarm.

    Raises:
        AgoraError: `not_found`, also where the run is none of a swarm.
    """
    run: Run = await broker.ask(GetRun(run=swarm, tenant=tenant), deadline_seconds=5)
    if run.package != PACKAGE:
        raise AgoraError("not_found", f"there is no swarm {swarm}: that run is one of {run.package}")
    return run


async def read_swarm(broker: Broker, tenant: str, swarm: str) -> SwarmDetailShape:
    """A swarm with all that belongs to it."""
    run = await swarm_run(broker, tenant, swarm)
    plan, children, found = await asyncio.gather(
        _plan(broker, tenant, swarm),
        _children(broker, tenant, swarm),
        broker.ask(ListFindings(run=swarm, tenant=tenant, topic="finding", limit=1)),
    )
    return swarm_detail(run, plan, children, found.total)


async def _plan(broker: Broker, tenant: str, swarm: str) -> list[PostedFinding]:
    page: FindingPage = await broker.ask(
        ListFindings(run=swarm, tenant=tenant, topic="plan", newest=True, limit=_PAGE)
    )
    return page.items


async def _children(broker: Broker, tenant: str, swarm: str) -> list[ChildRun]:
    found: list[ChildRun] = []
    cursor: str | None = None
    while len(found) < _CHILDREN_MAX:
        query = ListChildren(run=swarm, tenant=tenant, cursor=cursor, limit=_PAGE)
        page: ChildPage = await broker.ask(query)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return found
