"""Whose step begins next in a worker."""

import asyncio

from agora_execution.runs.turns import Turns

LONG = 3600.0


async def begin(turns: Turns, tenant: str, begun: list[str], end: asyncio.Event) -> None:
    """A step that works until it is told to end."""
    async with turns.turn(tenant):
        begun.append(tenant)
        await end.wait()


async def settle() -> None:
    """Let everything go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_tenants_first_step_does_not_wait_behind_anothers_many() -> None:
    """
    Whoever has the fewest turns is next, however many steps of others have waited for longer.
    """
    turns, begun = Turns(2, LONG), list[str]()
    ends = [asyncio.Event() for _ in range(7)]
    steps = [asyncio.create_task(begin(turns, "a", begun, end)) for end in ends[:6]]
    await settle()
    steps.append(asyncio.create_task(begin(turns, "b", begun, ends[6])))
    await settle()
    assert ["a", "a"] == begun
    ends[0].set()
    await settle()

    assert ["a", "a", "b"] == begun
    for end in ends:
        end.set()
    await asyncio.gather(*steps)
    assert 7 == len(begun)


async def test_tenants_take_turns() -> None:
    """
    Of several with as many turns, the one that has waited longest without one is next.
    """
    turns, begun = Turns(1, LONG), list[str]()
    first, others = asyncio.Event(), asyncio.Event()
    others.set()
    steps = [asyncio.create_task(begin(turns, "a", begun, first))]
    await settle()
    steps += [asyncio.create_task(begin(turns, tenant, begun, others)) for tenant in "aaabbc"]
    await settle()
    first.set()
    await asyncio.gather(*steps)

    assert list("aabcaba") == begun


async def test_a_step_that_waits_for_something_lets_others_begin() -> None:
    """
    A turn is over after its time, though the step goes on; its end gives nothing back a second time.
    """
    turns, begun = Turns(1, 0.0), list[str]()
    end = asyncio.Event()
    steps = [asyncio.create_task(begin(turns, "a", begun, end)) for _ in range(3)]
    async with asyncio.timeout(10):
        while len(begun) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
    end.set()
    await asyncio.gather(*steps)

    assert 1 == turns.free


async def test_a_step_that_gives_up_loses_no_turn() -> None:
    """
    Whoever is cancelled while it waits is passed over, also in the moment in which its turn comes.
    """
    turns, begun = Turns(1, LONG), list[str]()
    end = asyncio.Event()
    first = asyncio.create_task(begin(turns, "a", begun, end))
    await settle()
    waiting = [asyncio.create_task(begin(turns, tenant, begun, end)) for tenant in "bcd"]
    await settle()
    waiting[0].cancel()
    end.set()
    await first
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert "d" in begun
    assert 1 == turns.free
