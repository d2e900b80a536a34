"""Reads whose items are large: fewer come in a page, every one comes once, and nothing is too large for a message."""

from typing import Any

import msgspec
import pytest
from agora_contracts.approvals import Approval, DecideApproval, ListApprovals, ListApprovalTrail
from agora_contracts.envelope import utc_now
from agora_contracts.examples import EXAMPLES
from agora_contracts.problems import AgoraError
from agora_contracts.runs import ListRunEvents
from agora_execution.approvals import store

from .asking import TENANT, new_id
from .driving import Platform

LARGE = "x" * 21_000


async def approval(platform: Platform, **fields: Any) -> Approval:
    """An approval that is kept, without a run around it."""
    (example, *_) = EXAMPLES[Approval]
    assert isinstance(example, Approval)
    made = msgspec.structs.replace(
        example, id=new_id("apr"), tenant=TENANT, decider="customer", requested_at=utc_now(), **fields
    )
    async with platform.database.system() as connection:
        await store.insert(connection, made)
    return made


async def test_approvals_with_large_arguments_come_in_smaller_pages(service_alone: Platform) -> None:
    """
    Sixty of them, which no message could hold, come page by page, newest first, for a tenant and the operator.
    """
    made = [await approval(service_alone, arguments={"letter": LARGE}) for _ in range(60)]
    found: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor is not None:
        page = await service_alone.ask(ListApprovals(tenant=TENANT, cursor=cursor, limit=200))
        found += [one.id for one in page.items]
        cursor, pages = page.next_cursor, pages + 1

    assert [one.id for one in reversed(made)] == found
    assert pages > 2


async def test_a_journal_with_large_events_is_read_to_its_end(echo_listed: Platform) -> None:
    """
    Each page says whether more comes, and the last one alone that it is the last.
    """
    run = await echo_listed.start({"text": "hello"})
    before = (await echo_listed.ask(ListRunEvents(run=run.id, tenant=TENANT))).items
    await echo_listed.execute(
        """
        INSERT INTO run_events (run_id, tenant_id, seq, type, at, data)
        SELECT run_id, tenant_id, seq + n, type, at, jsonb_build_object('text', CAST(:large AS text))
        FROM run_events, generate_series(1, 60) n WHERE run_id = :run AND seq = :seq
        """,
        run=run.id,
        seq=before[-1].seq,
        large=LARGE,
    )
    found: list[int] = []
    more = True
    pages = 0
    while more:
        after = found[-1] if found else 0
        page = await echo_listed.ask(ListRunEvents(run=run.id, tenant=TENANT, after=after))
        found += [event.seq for event in page.items]
        more, pages = page.more, pages + 1

    assert list(range(1, before[-1].seq + 61)) == found
    assert pages > 2


async def test_refused_decisions_are_noted_up_to_a_hundred_and_counted(service_alone: Platform) -> None:
    """
    The trail comes in pages; what was refused after a hundred times adds nothing to it but the count.
    """
    made = await approval(service_alone)
    for number in range(105):
        command = DecideApproval(
            approval=made.id, tenant=None, approve=True, decided_by=f"operator {number}", comment="y" * 2000
        )
        with pytest.raises(AgoraError) as caught:
            await service_alone.ask(command)
        assert "forbidden" == caught.value.slug
    first = await service_alone.ask(ListApprovalTrail(approval=made.id, tenant=TENANT, limit=60))
    rest = await service_alone.ask(
        ListApprovalTrail(approval=made.id, tenant=TENANT, limit=60, cursor=first.next_cursor)
    )

    assert [f"operator {number}" for number in range(100)] == [one.who for one in first.items + rest.items]
    assert (105, 105, None) == (first.refused, rest.refused, rest.next_cursor)
