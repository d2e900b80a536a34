"""The blackboard: posted once whatever is tried again, read by the whole tree of runs, shown when it was delivered."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agora import InputRejected
from agora.blackboard import Evidence, Finding
from agora_contracts.problems import AgoraError
from agora_contracts.swarms import ListFindings
from agora_execution.blackboard import service as blackboards
from agora_execution.blackboard.service import Blackboards, RunBlackboard
from sqlalchemy import text

from .asking import OTHER_TENANT, TENANT, new_id
from .driving import Platform


def finding(name: str, **more: Any) -> Finding:
    """A finding."""
    return Finding(id=name, claim=f"it says {name}", **more)


async def run_row(platform: Platform, *, parent: str | None = None, **columns: Any) -> str:
    """A run that has ended well, under another one if given: a copy of a real one's row."""
    started = await platform.start({"text": "hello"})
    changed = {"status": "succeeded", "parent_id": parent} | columns
    assignments = ", ".join(f"{name} = :{name}" for name in changed)
    async with platform.database.system() as connection:
        await connection.execute(
            text(f"UPDATE runs SET {assignments} WHERE id = :id"), changed | {"id": started.id}
        )
    run: str = started.id
    return run


def board(platform: Platform, run: str, step: str = "work/1", tenant: str = TENANT) -> RunBlackboard:
    """The blackboard as a step of a run has it."""
    return RunBlackboard(platform.database, tenant, run, f"{run}/{step}")


async def listed(platform: Platform, run: str, **query: Any) -> Any:
    """What customers see."""
    return await platform.ask(ListFindings(run=run, tenant=query.pop("tenant", TENANT), **query))


async def test_what_a_called_run_has_posted_its_root_reads(echo_listed: Platform) -> None:
    """
    All runs of a tree share one blackboard, whatever their depth, and read who posted what.
    """
    root = await run_row(echo_listed)
    child = await run_row(echo_listed, parent=root)
    grandchild = await run_row(echo_listed, parent=child)
    one = finding("a", evidence=[Evidence(source="x.yaml", place="line 1", quote="a: 1")], data={"line": 1})
    await board(echo_listed, grandchild).post("finding", [one])
    await board(echo_listed, child).post("finding", [finding("b")])
    found = await board(echo_listed, root).read("finding")
    of_child = await board(echo_listed, grandchild).read("finding", runs=[child])

    assert {(grandchild, "a"), (child, "b")} == {(each.run, each.finding.id) for each in found}
    assert [one] == [each.finding for each in found if each.run == grandchild]
    assert ["b"] == [each.finding.id for each in of_child]
    assert [] == await board(echo_listed, root).read("other")


async def test_a_step_that_is_tried_again_leaves_nothing_behind(echo_listed: Platform) -> None:
    """
    A second attempt's post replaces the first one's; another step's and another topic's stay.
    """
    root = await run_row(echo_listed)
    await board(echo_listed, root, "other/1").post("finding", [finding("kept")])
    await board(echo_listed, root).post("finding", [finding("a"), finding("b")])
    await board(echo_listed, root).post("vote", [finding("v")])
    await board(echo_listed, root).post("finding", [finding("b")])

    assert {"kept", "b"} == {each.finding.id for each in await board(echo_listed, root).read("finding")}
    assert ["v"] == [each.finding.id for each in await board(echo_listed, root).read("vote")]


async def test_two_attempts_at_once_leave_one_post(echo_listed: Platform) -> None:
    """
    Attempts that overlap do not add up: one post stands, whole.
    """
    root = await run_row(echo_listed)
    posts = [[finding(f"{n}-{k}") for k in range(20)] for n in range(4)]
    await asyncio.gather(*(board(echo_listed, root).post("finding", post) for post in posts))
    found = [each.finding.id for each in await board(echo_listed, root).read("finding")]

    assert found in [[one.id for one in post] for post in posts]


async def test_a_blackboard_is_bounded(echo_listed: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Beyond its room nothing is stored and the step is told; also when two post the last room at once. What the root run
    posts has room of its own.
    """
    monkeypatch.setattr(blackboards, "ROOT_MAX", 10)
    root = await run_row(echo_listed)
    one, other = await run_row(echo_listed, parent=root), await run_row(echo_listed, parent=root)

    async def post(run: str) -> str:
        try:
            await board(echo_listed, run).post("finding", [finding(f"{run}{n}") for n in range(6)])
        except InputRejected as refused:
            return refused.code
        return "posted"

    assert ["blackboard_full", "posted"] == sorted(await asyncio.gather(post(one), post(other)))
    assert "posted" == await post(root)
    assert 12 == len(await board(echo_listed, root).read("finding"))


async def test_thousands_are_posted_at_once_in_their_order(echo_listed: Platform) -> None:
    """
    A validator's verdicts on all findings of a large audit are one post, stored in several statements.
    """
    root = await run_row(echo_listed)
    names = [f"f{number}" for number in range(6_500)]
    await board(echo_listed, root).post("verdict", [finding(name) for name in names])
    await board(echo_listed, root).post("verdict", [finding(name) for name in names])

    assert names == [each.finding.id for each in await board(echo_listed, root).read("verdict")]


async def test_text_that_the_database_cannot_hold_is_kept_readable(echo_listed: Platform) -> None:
    """
    A zero character out of a file does not fail the step.
    """
    root = await run_row(echo_listed)
    await board(echo_listed, root).post("finding", [finding("a", about="x\0y")])
    (found,) = await board(echo_listed, root).read("finding")

    assert "x\ufffdy" == found.finding.about


async def test_customers_see_what_was_delivered(echo_listed: Platform) -> None:
    """
    Findings of a run that failed or still works are not shown; the root's own are.
    """
    root = await run_row(echo_listed, status="running")
    done = await run_row(echo_listed, parent=root)
    failed = await run_row(echo_listed, parent=root, status="failed")
    working = await run_row(echo_listed, parent=root, status="running")
    for run in (root, done, failed, working):
        await board(echo_listed, run).post("finding", [finding(run)])
    page = await listed(echo_listed, root)

    assert ({root, done}, 2) == ({one.run for one in page.items}, page.total)


async def test_pages_follow_each_other(echo_listed: Platform) -> None:
    """
    Every finding is on one page, those of one post in its order.
    """
    root = await run_row(echo_listed)
    names = [f"n{number:02}" for number in range(7)]
    await board(echo_listed, root).post("finding", [finding(name) for name in names])
    seen: list[str] = []
    cursor = None
    while True:
        page = await listed(echo_listed, root, cursor=cursor, limit=3)
        seen += [one.finding.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert names == seen


async def test_reading_on_while_agents_deliver_misses_nothing(echo_listed: Platform) -> None:
    """
    What was posted early by an agent that delivers late is on the pages to come, not behind the reader.
    """
    root = await run_row(echo_listed, status="running")
    early = datetime(2026, 1, 1, tzinfo=UTC)
    slow = await run_row(echo_listed, parent=root, status="running")
    fast = await run_row(echo_listed, parent=root, finished_at=early)
    await board(echo_listed, slow).post("finding", [finding("slow")])
    await board(echo_listed, fast).post("finding", [finding("a"), finding("b"), finding("c")])
    first = await listed(echo_listed, root, limit=2)
    async with echo_listed.database.system() as connection:
        await connection.execute(
            text("UPDATE runs SET status = 'succeeded', finished_at = :at WHERE id = :id"),
            {"id": slow, "at": early + timedelta(seconds=1)},
        )
    rest = await listed(echo_listed, root, cursor=first.next_cursor)

    assert ["a", "b", "c", "slow"] == [one.finding.id for one in (*first.items, *rest.items)]
    assert (3, 4) == (first.total, rest.total)


async def test_a_page_fits_one_message(echo_listed: Platform) -> None:
    """
    Large findings make smaller pages, never a message that cannot be sent.
    """
    root = await run_row(echo_listed)
    large = [finding(f"n{number}", data={"diff": "x" * 14_000}) for number in range(100)]
    await board(echo_listed, root).post("finding", large)
    page = await listed(echo_listed, root, limit=200)

    assert 100 == page.total
    assert 0 < len(page.items) < 100
    assert page.next_cursor is not None


async def test_the_newest_post_is_what_counts_of_a_plan(echo_listed: Platform) -> None:
    """
    A plan that a later step has posted stands in the place of the one before.
    """
    root = await run_row(echo_listed)
    await board(echo_listed, root, "plan/1").post("plan", [finding("plan:0"), finding("plan:1")])
    await board(echo_listed, root, "research/1").post("plan", [finding("plan:0")])
    page = await listed(echo_listed, root, topic="plan", newest=True)

    assert [f"{root}/research/1"] == [one.step for one in page.items]


@pytest.mark.parametrize("tenant", [TENANT, OTHER_TENANT])
async def test_no_other_tenant_sees_anything(echo_listed: Platform, tenant: str) -> None:
    """
    A run that is not there, and one of another tenant, are the same: not found. Its steps read nothing either.
    """
    root = await run_row(echo_listed)
    await board(echo_listed, root).post("finding", [finding("a")])
    run = new_id("run") if tenant == TENANT else root
    with pytest.raises(AgoraError) as refused:
        await listed(echo_listed, run, tenant=tenant)

    assert "not_found" == refused.value.slug
    assert [] == await board(echo_listed, root, tenant=OTHER_TENANT).read("finding")


async def test_a_run_begun_again_reads_what_its_origin_has_found(echo_listed: Platform) -> None:
    """
    Steps that were taken over keep what they had posted; what is found again stands in its place.
    """
    origin = await run_row(echo_listed)
    await board(echo_listed, origin).post("finding", [finding("a", about="before"), finding("b")])
    again = await run_row(echo_listed, origin_id=origin)
    await board(echo_listed, again).post("finding", [finding("a", about="after")])
    found = {each.finding.id: each.finding.about for each in await board(echo_listed, again).read("finding")}

    assert {"a": "after", "b": ""} == found


async def test_findings_past_their_time_are_forgotten(echo_listed: Platform) -> None:
    """
    Only what is older than the retention goes.
    """
    root = await run_row(echo_listed)
    await board(echo_listed, root).post("old", [finding("a")])
    async with echo_listed.database.system() as connection:
        await connection.execute(text("UPDATE findings SET posted_at = now() - interval '100 days'"))
    await board(echo_listed, root).post("new", [finding("b")])
    await Blackboards(echo_listed.database, retention_days=90).forget()

    assert [] == await board(echo_listed, root).read("old")
    assert 1 == len(await board(echo_listed, root).read("new"))
