"""Asking a platform that is being killed: each request again until it is answered, with the same key."""

import asyncio
import time
from typing import Any

import httpx

_SUBMIT_SECONDS = 120.0


async def submitted(client: httpx.AsyncClient, path: str, body: dict[str, Any], key: str) -> str:
    """Ask until a run is accepted, with the same key each time; its id.

    Raises:
        TimeoutError: it was not within two minutes.
        AssertionError: it was refused.
    """
    deadline = time.monotonic() + _SUBMIT_SECONDS
    last: object = None
    while time.monotonic() < deadline:
        answer = await attempt(client.post(path, json=body, headers={"Idempotency-Key": key}))
        last = answer
        if isinstance(answer, httpx.Response):
            if answer.status_code in (200, 202):
                return str(answer.json()["id"])
            if answer.status_code < 500 and answer.status_code != 429:
                raise AssertionError(f"{answer.status_code}: {answer.text}")
            last = answer.text
        await asyncio.sleep(0.3)
    raise TimeoutError(f"not accepted within {_SUBMIT_SECONDS} s: {last}")


async def attempt(request: Any) -> httpx.Response | httpx.TransportError:
    """The answer to a request, or why there is none."""
    try:
        answer: httpx.Response = await request
    except httpx.TransportError as error:
        return error
    return answer
