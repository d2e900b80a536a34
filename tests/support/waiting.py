"""Waiting for what nobody announces."""

import asyncio
from collections.abc import Awaitable, Callable


async def until[Found](look: Callable[[], Awaitable[Found]], good: Callable[[Found], bool]) -> Found:
    """Look again and again until what is found is good; that. Gives up after 30 s, saying what was found last.

    Raises:
        TimeoutError: it has not become good.
    """
    found = await look()
    deadline = asyncio.get_running_loop().time() + 30
    while not good(found):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"after 30 s still {found}")
        await asyncio.sleep(0.1)
        found = await look()
    return found
