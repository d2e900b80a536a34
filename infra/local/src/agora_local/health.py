"""Asking processes over NATS how they are."""

import asyncio
import contextlib
import json
from collections.abc import Sequence

import nats

_HEALTH_SECONDS = 2.5


async def ask_health(nats_url: str, names: Sequence[str]) -> dict[str, str]:
    """What each process answers when asked over NATS: its status, or why there is none."""

    async def keep_silent(error: Exception) -> None:
        """The answers tell what is wrong; the client would print a traceback."""

    try:
        connection = await nats.connect(
            nats_url, connect_timeout=2, max_reconnect_attempts=0, error_cb=keep_silent
        )
    except (OSError, nats.errors.Error, TimeoutError):
        return dict.fromkeys(names, "NATS does not answer")

    async def ask(name: str) -> str:
        try:
            reply = await connection.request(f"agora.cmd.{name}.health", b"{}", timeout=_HEALTH_SECONDS)
            answer = json.loads(reply.data)
            failing = [f"{key}: {value}" for key, value in answer.get("checks", {}).items() if value != "ok"]
            return "; ".join([str(answer.get("status")), *failing])
        except nats.errors.NoRespondersError:
            return "starting"
        except (nats.errors.Error, TimeoutError):
            return "does not answer"
        except (ValueError, AttributeError):
            return "answers nonsense"

    try:
        return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))
    finally:
        with contextlib.suppress(nats.errors.Error, OSError):
            await connection.close()
