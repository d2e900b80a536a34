"""Reading runs: one, a page of them, the journal, and what is published again."""

from typing import Any

import pytest
from agora_contracts.problems import AgoraError
from agora_contracts.runs import CancelRun, GetRun, ListRunEvents, ListRuns, ListSteps
from agora_contracts.usage import ListRunUsage, ReplayRunUsage

from .asking import OTHER_TENANT, TENANT, new_id
from .driving import Platform


async def test_another_tenants_run_is_not_found(platform: Platform) -> None:
    """
    Whatever is asked about it, a run of another tenant looks as if it did not exist.
    """
    run = await platform.run({"text": "hello"})

    for query in (
        GetRun(run=run.id, tenant=OTHER_TENANT),
        ListSteps(run=run.id, tenant=OTHER_TENANT),
        ListRunEvents(run=run.id, tenant=OTHER_TENANT),
        CancelRun(run=run.id, tenant=OTHER_TENANT),
    ):
        with pytest.raises(AgoraError) as caught:
            await platform.ask(query)
        assert "not_found" == caught.value.slug
    assert [] == (await platform.ask(ListRuns(tenant=OTHER_TENANT))).items
    assert [] == (await platform.ask(ListRunUsage(run=run.id, tenant=OTHER_TENANT))).ids


async def test_runs_are_listed_newest_first_in_pages(echo_listed: Platform) -> None:
    """
    Pages follow each other without gap or repetition, and filters narrow them.
    """
    ids = [(await echo_listed.start({"text": f"text {n}"})).id for n in range(7)]
    found: list[str] = []
    cursor = None
    while True:
        page = await echo_listed.ask(ListRuns(tenant=TENANT, limit=3, cursor=cursor))
        found += [run.id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert ids[::-1] == found
    assert [] == (await echo_listed.ask(ListRuns(tenant=TENANT, status="failed"))).items
    assert 7 == len((await echo_listed.ask(ListRuns(tenant=TENANT, package="echo"))).items)
    with pytest.raises(AgoraError) as caught:
        await echo_listed.ask(ListRuns(tenant=TENANT, cursor="nonsense"))
    assert "invalid_cursor" == caught.value.slug


async def test_steps_are_read_in_pages(platform: Platform) -> None:
    """
    However many steps a run has taken, each page fits a message, and together they are all steps in their order.
    """
    run = await platform.run({"text": "hello", "steps": 5})
    await platform.execute(
        """
        INSERT INTO steps (run_id, id, tenant_id, seq, node, title, visit, branch, attempt, started_at, finished_at,
            usage, summary, result)
        SELECT run_id, id || '/' || n, tenant_id, 100 + n, node, title, n, branch, attempt, started_at, finished_at,
            usage, repeat('x', 5000), result
        FROM steps, generate_series(1, 300) n WHERE run_id = :run AND visit = 1
        """,
        run=run.id,
    )
    found: list[int] = []
    pages: list[int] = []
    cursor = None
    while True:
        page = await platform.ask(ListSteps(run=run.id, tenant=TENANT, limit=200, cursor=cursor))
        found += [step.seq for step in page.items]
        pages.append(len(page.items))
        cursor = page.next_cursor
        if cursor is None:
            break

    assert [*range(3, 8), *range(101, 401)] == found
    assert 3 < len(pages)
    with pytest.raises(AgoraError) as caught:
        await platform.ask(ListSteps(run=run.id, tenant=TENANT, cursor="nonsense"))
    assert "invalid_cursor" == caught.value.slug


async def test_a_runs_journal_is_read_from_any_place(platform: Platform) -> None:
    """
    Whoever lost the connection goes on after the last entry seen; the journal says when it is complete.
    """
    run = await platform.run({"text": "hello", "steps": 3})
    first = await platform.ask(ListRunEvents(run=run.id, tenant=TENANT, limit=2))
    rest = await platform.ask(ListRunEvents(run=run.id, tenant=TENANT, after=2))

    assert ([1, 2], False) == ([event.seq for event in first.items], first.complete)
    assert ([3, 4, 5, 6], False) == ([event.seq for event in rest.items], rest.complete)
    await platform.charge(run.id, 10_000)

    async def complete() -> Any:
        answer = await platform.ask(ListRunEvents(run=run.id, tenant=TENANT, after=6))
        return answer if answer.complete else None

    assert ["run.charged"] == [event.type for event in (await platform.until(complete)).items]


async def test_everything_about_a_run_is_published_again_on_request(platform: Platform) -> None:
    """
    An operator's replay puts every event of the run back on its way; an unknown run is not found.
    """
    run = await platform.run({"text": "hello"})
    replayed = await platform.ask(ReplayRunUsage(run=run.id))

    assert 6 == replayed.count

    async def published() -> bool:
        return not await platform.rows("SELECT 1 FROM outbox WHERE published_at IS NULL")

    await platform.until(published)
    with pytest.raises(AgoraError) as caught:
        await platform.ask(ReplayRunUsage(run=new_id("run")))
    assert "not_found" == caught.value.slug
