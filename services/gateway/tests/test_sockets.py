"""WebSockets of runs: who may open one, what is said on it, and how it closes."""

import asyncio
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from agora_gateway.app import Gateway
from agora_gateway.edge.sockets import FRAME_BYTES_MAX, FRAMES_MAX, REFUSED_MAX
from agora_gateway.runs.feeds import WAITING_MAX
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .conftest import Customer, Others, until
from .made_up_run import (
    RUN,
    Journal,
    Writer,
    accepted,
    charged,
    finished,
    journal_of,
    started,
    step,
    until_followed,
)

type NewCustomer = Callable[..., Awaitable[Customer]]


@pytest.fixture
async def journal(customer: Customer, others: Others) -> Journal:
    """The journal of the customer's run, empty."""
    return await journal_of(customer, others)


@asynccontextmanager
async def opened(
    gateway: Gateway, path: str = f"/runs/{RUN}/events", **options: Any
) -> AsyncIterator[ClientConnection]:
    """A socket."""
    url = f"ws://127.0.0.1:{gateway.server.port}/api/v1{path}"
    async with connect(url, proxy=None, **options) as socket:
        yield socket


def with_key(customer: Customer) -> dict[str, Any]:
    """A client that may set headers."""
    return {"additional_headers": {"Authorization": f"Bearer {customer.key}"}}


async def frame(socket: ClientConnection) -> dict[str, Any]:
    """The next frame."""
    async with asyncio.timeout(60):
        found: dict[str, Any] = msgspec.json.decode(await socket.recv())
    return found


async def closed_with(socket: ClientConnection) -> int | None:
    """Read a socket to its end, and with which code that comes."""
    try:
        async with asyncio.timeout(60):
            while True:
                await socket.recv()
    except ConnectionClosed as end:
        return None if end.rcvd is None else end.rcvd.code


async def test_a_socket_tells_what_the_stream_tells(
    customer: Customer, journal: Journal, others: Others, gateway: Gateway
):
    """
    The durable events with their ids and the live ones between them, until the run is charged.
    """
    writer = Writer(others, customer.id)
    await writer.listen()
    await journal.write(accepted())
    async with opened(gateway, **with_key(customer)) as socket:
        first = await frame(socket)
        await until_followed(gateway)
        await writer.write("Hello")
        live = await frame(socket)
        for fact in (started(2), step(3), finished(4), charged(5)):
            await journal.write(fact)
        rest = [await frame(socket) for _ in range(4)]
        code = await closed_with(socket)

    assert ("run.accepted", 1, RUN) == (first["type"], first["id"], first["data"]["run"])
    assert ("content_delta", "Hello", False) == (live["type"], live["data"]["delta"], "id" in live)
    assert [2, 3, 4, 5] == [one["id"] for one in rest]
    assert 1000 == code


async def test_a_socket_resumes_after_an_id(customer: Customer, journal: Journal, gateway: Gateway):
    """
    `?after=N` tells only what comes behind.
    """
    await journal.write_all()
    async with opened(gateway, f"/runs/{RUN}/events?after=3", **with_key(customer)) as socket:
        found = [(await frame(socket))["id"] for _ in range(2)]

    assert [4, 5] == found


async def test_a_socket_refuses_an_id_that_no_event_has(
    customer: Customer, journal: Journal, gateway: Gateway
):
    """
    It is told why, and closed, instead of waiting for events that never come.
    """
    await journal.write_all()
    async with opened(gateway, f"/runs/{RUN}/events?after=999", **with_key(customer)) as socket:
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("invalid_input", 4422) == (told["code"], closed)


@pytest.mark.parametrize("way", ["x-api-key", "subprotocol", "frame"])
async def test_a_key_comes_in_several_ways(customer: Customer, journal: Journal, gateway: Gateway, way: str):
    """
    In a header, in a subprotocol (which is all that a browser can set), or in the first frame.
    """
    await journal.write_all()
    ways: dict[str, dict[str, Any]] = {
        "x-api-key": {"additional_headers": {"X-API-Key": customer.key}},
        "subprotocol": {"subprotocols": ["agora.v1", f"agora.key.{customer.key}"]},
        "frame": {},
    }
    async with opened(gateway, **ways[way]) as socket:
        if way == "frame":
            await socket.send(msgspec.json.encode({"type": "authenticate", "key": customer.key}).decode())
        first = await frame(socket)

    assert "run.accepted" == first["type"]
    assert ("agora.v1" if way == "subprotocol" else None) == socket.subprotocol


@pytest.mark.parametrize(
    ("options", "sent", "code", "slug"),
    [
        ({"additional_headers": {"Authorization": "Bearer ak_nonsense"}}, None, 4401, "unauthenticated"),
        ({"subprotocols": ["agora.v1", "agora.key.ak_nonsense"]}, None, 4401, "unauthenticated"),
        ({}, '{"type": "authenticate", "key": "ak_nonsense"}', 4401, "unauthenticated"),
        ({}, '{"type": "user_message", "content": "hi"}', 4401, "unauthenticated"),
        ({}, "no JSON", 4401, "unauthenticated"),
    ],
)
async def test_a_socket_without_a_valid_key_is_told_so_and_closed(
    journal: Journal, gateway: Gateway, options: dict[str, Any], sent: str | None, code: int, slug: str
):
    """
    The error comes as a frame, which browsers can read, and the code repeats its status.
    """
    async with opened(gateway, **options) as socket:
        if sent is not None:
            await socket.send(sent)
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("error", slug, code) == (told["type"], told["code"], closed)


async def test_a_key_without_the_scope_is_refused(
    new_customer: NewCustomer, journal: Journal, gateway: Gateway
):
    """
    Reading a run's events takes the scope `read`.
    """
    customer = await new_customer(scopes=["execute"])
    async with opened(gateway, **with_key(customer)) as socket:
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("forbidden", 4403) == (told["code"], closed)


@pytest.mark.parametrize("run", [RUN, "run_nonsense"])
async def test_another_tenants_run_has_no_socket(
    new_customer: NewCustomer, journal: Journal, gateway: Gateway, run: str
):
    """
    A run of somebody else is as little there as one that cannot be.
    """
    await journal.write_all()
    stranger = await new_customer()
    async with opened(gateway, f"/runs/{run}/events", **with_key(stranger)) as socket:
        told = await frame(socket)
        closed = await closed_with(socket)

    assert ("not_found", 4404) == (told["code"], closed)


async def test_bad_frames_are_answered_and_the_socket_stays_open(
    customer: Customer, journal: Journal, gateway: Gateway
):
    """
    Binary, too large, or not wanted here: each is answered with its reason, and events go on.
    """
    await journal.write(accepted())
    async with opened(gateway, **with_key(customer)) as socket:
        await frame(socket)
        await until_followed(gateway)
        answers = []
        for sent in (b"\x00\x01", "x" * (FRAME_BYTES_MAX + 1), "{}"):
            await socket.send(sent)
            answers.append((await frame(socket))["code"])
        await journal.write(started(2))
        event = await frame(socket)

    assert ["malformed_request", "payload_too_large", "malformed_request"] == answers
    assert 2 == event["id"]


async def test_a_socket_takes_so_many_frames_and_no_more(
    customer: Customer, journal: Journal, gateway: Gateway
):
    """
    Beyond the rate frames are refused with the time to wait; who goes on and on is shut out.
    """
    await journal.write(accepted())
    async with opened(gateway, **with_key(customer)) as socket:
        await frame(socket)
        for _ in range(FRAMES_MAX + 1):
            await socket.send("{}")
        told = [await frame(socket) for _ in range(FRAMES_MAX + 1)]
        for _ in range(REFUSED_MAX):
            await socket.send("{}")
        closed = await closed_with(socket)

    assert {"malformed_request"} == {one["code"] for one in told[:-1]}
    assert ("too_many_requests", True) == (
        told[-1]["code"], told[-1]["problem"]["retry_after_seconds"] > 0,
    )  # fmt: skip
    assert 4429 == closed


async def test_sockets_close_when_the_gateway_stops(customer: Customer, journal: Journal, gateway: Gateway):
    """
    A gateway that drains closes its sockets with the code for a restart, and forgets them.
    """
    await journal.write(accepted())
    async with opened(gateway, **with_key(customer)) as socket:
        await frame(socket)
        await until_followed(gateway)
        stopping = asyncio.create_task(gateway.stop())
        closed = await closed_with(socket)
        await stopping
    await gateway.start()

    assert (1012, 0, 0) == (closed, gateway.sockets.count, gateway.feeds.count)


async def test_a_client_that_leaves_is_forgotten(customer: Customer, journal: Journal, gateway: Gateway):
    """
    When the connection is gone, so are its feed and its place.
    """
    await journal.write(accepted())
    async with opened(gateway, **with_key(customer)) as socket:
        await frame(socket)
        await until_followed(gateway)

    await until(lambda: not gateway.feeds.count and not gateway.sockets.count)


async def test_a_slow_reader_is_bounded_and_told(
    customer: Customer, journal: Journal, others: Others, gateway: Gateway
):
    """
    Who does not read for a while gets `lagged` with what was skipped, then the durable events from the journal and the
    text as a snapshot; nothing piles up for it meanwhile.
    """
    writer = Writer(others, customer.id)
    await writer.listen()
    await journal.write(accepted())
    # So that little fits on the way: the client stops reading after a few frames.
    narrow = sockets.socket()
    narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 16 * 1024)
    narrow.connect(("127.0.0.1", gateway.server.port))
    narrow.setblocking(False)
    async with opened(gateway, sock=narrow, max_queue=1, **with_key(customer)) as reader:
        await frame(reader)
        await until_followed(gateway)
        for _ in range(20 * WAITING_MAX):
            await writer.write("x" * 2_000)
            if len(writer.text) % 100_000 == 0:
                await others.flush()
        writer.text = writer.text[-10_000:]
        writer.take += 1
        await journal.write(started(2))
        await others.flush()
        types = []
        durable = text = None
        while durable is None or text is None:
            one = await frame(reader)
            types.append(one["type"])
            if one.get("id") == 2:
                durable = one
            if one["type"] == "content_snapshot":
                text = one["data"]["content"]

    assert "lagged" in types
    assert writer.text == text


async def test_a_revoked_key_closes_the_socket(
    customer: Customer, journal: Journal, others: Others, gateway: Gateway
):
    """
    A socket that was opened with a key closes soon after the key is revoked, and says why.
    """
    writer = Writer(others, customer.id)
    await writer.listen()
    await journal.write(accepted())
    async with opened(gateway, **with_key(customer)) as socket:
        await frame(socket)
        await until_followed(gateway)
        (await customer.http.delete(f"/api-keys/{customer.key_id}")).raise_for_status()
        told = {"type": ""}
        while told["type"] != "error":
            await writer.write("still there? ")
            told = await frame(socket)
        closed = await closed_with(socket)

    assert ("key_revoked", 4401) == (told["code"], closed)
