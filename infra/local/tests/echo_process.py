"""A stand-in for a service: answers for its health, serves HTTP where asked to, ends on SIGTERM."""

import asyncio
import json
import os
import signal
import sys

import asyncpg
import nats
from nats.aio.msg import Msg


async def main() -> None:
    """Check what a process is given, answer until SIGTERM."""
    name = os.environ["AGORA_SERVICE"]
    if name == os.environ.get("ECHO_CRASHES"):
        sys.exit(f"{name} was told to crash")
    for variable in ("AGORA_DATABASE_URL", "AGORA_DATABASE_SYSTEM_URL", "AGORA_DATABASE_OWNER_URL"):
        connection = await asyncpg.connect(os.environ[variable].replace("+asyncpg", ""))
        await connection.close()
    broker = await nats.connect(os.environ["AGORA_NATS_URL"], max_reconnect_attempts=-1)

    async def answer(message: Msg) -> None:
        await message.respond(json.dumps({"service": name, "status": "ready", "checks": {}}).encode())

    await broker.subscribe(f"agora.cmd.{name}.health", queue=name, cb=answer)
    if port := os.environ.get("AGORA_HTTP_PORT"):
        assert os.environ["AGORA_OPERATOR_TOKEN"]
        await asyncio.start_server(_answer_http, "127.0.0.1", int(port))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(json.dumps({"timestamp": "2026-01-01T00:00:00Z", "event": f"{name} is ready"}), flush=True)
    await ended.wait()
    await broker.close()
    print(json.dumps({"timestamp": "2026-01-01T00:00:01Z", "event": f"{name} drained"}), flush=True)


async def _answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        (int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0
    )
    await reader.readexactly(length)
    body = json.dumps({"id": "ten_1", "key": "key-1"}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main())
