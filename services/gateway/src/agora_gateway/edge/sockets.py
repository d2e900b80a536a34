"""WebSockets: who comes, what may be sent and how fast, and how a socket ends.

A key comes in a header, in the subprotocol `agora.key.<key>` (which is all that a browser can set), or in a first frame
`{"type": "authenticate", "key": …}`. Whatever is wrong with a frame is answered with an `error`, and the socket stays
open; it closes when its reader is gone, its key no longer works, or the process stops.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal

import msgspec
import structlog
from agora_contracts.problems import AgoraError, Problem
from litestar import WebSocket

from agora_gateway.edge import bodies, problems
from agora_gateway.edge.gate import Keys, credential
from agora_gateway.edge.per_tenant import PerTenant
from agora_gateway.edge.principals import Scope, Tenant, check_scope

log = structlog.get_logger()

SUBPROTOCOL = "agora.v1"
KEY_SUBPROTOCOL = "agora.key."

FRAME_BYTES_MAX = 128 * 1024
FRAMES_MAX = 40
FRAMES_SECONDS = 10.0
"""At most so many frames in so many seconds."""

REFUSED_MAX = 200
"""After so many refused frames a socket is closed."""

SOCKETS_PER_TENANT_MAX = 200
_SIGN_IN_SECONDS = 10.0
_SEND_SECONDS = 30.0
"""How long a reader may take no byte of a frame before its socket is closed."""
_DRAIN_SECONDS = 3.0
_WAITING_MAX = 16

NORMAL, RESTARTING, TOO_MUCH = 1000, 1012, 1008
"""Codes with which a socket closes; a problem's is 4000 and its HTTP status."""

type Frame = bytes | AgoraError
type Work = Callable[["Session"], Awaitable[None]]


class Gone(Exception):
    """Nobody reads any more."""


class _SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The frame that brings a key."""

    type: Literal["authenticate"]
    key: str


class Session:
    """One socket whose tenant is known."""

    def __init__(self, socket: WebSocket[Any, Any, Any], keys: Keys, scope: Scope) -> None:
        self._socket = socket
        self._keys = keys
        self._scope = scope
        self._token = ""
        self._tenant: Tenant | None = None
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(_WAITING_MAX)
        self._times: deque[float] = deque(maxlen=FRAMES_MAX)
        self._sending = asyncio.Lock()
        self._refused = 0

    @property
    def path(self) -> str:
        """What was asked for."""
        return str(self._socket.scope["path"])

    @property
    def tenant(self) -> Tenant:
        """Whose socket it is."""
        assert self._tenant is not None, "the session is signed in"
        return self._tenant

    async def still_permit(self) -> None:
        """Look whether the key still works; while that cannot be known, it is taken that it does.

        Raises:
            AgoraError: it does not, or may not do this any more.
        """
        try:
            await self.permit()
        except AgoraError as error:
            if error.problem.status < 500:
                raise
        except Exception as error:
            log.info("permission not checked, the socket stays open", path=self.path, error=repr(error))

    async def permit(self) -> Tenant:
        """The tenant, if the key still works.

        Raises:
            AgoraError: it does not, or may not do this any more.
        """
        tenant = await self._keys.authenticate(self._token)
        check_scope(tenant, self._scope)
        return tenant

    async def sign_in(self) -> None:
        """Find out who comes.

        Raises:
            AgoraError: there is no key in time, or it does not work here.
        """
        token = _key_of(self._socket)
        if token is None:
            try:
                async with asyncio.timeout(_SIGN_IN_SECONDS):
                    frame = await self._frames.get()
            except TimeoutError as error:
                raise AgoraError(
                    "unauthenticated", f"no key came within {_SIGN_IN_SECONDS:g} s; {_HOW}"
                ) from error
            if isinstance(frame, AgoraError):
                raise frame
            try:
                token = bodies.decode(frame, _SignIn).key
            except AgoraError as error:
                raise AgoraError("unauthenticated", f"the first frame brings no key; {_HOW}") from error
        self._token = token
        self._tenant = await self.permit()

    async def frames(self) -> AsyncIterator[bytes]:
        """What the client sends, frame by frame; those that may not be are answered here."""
        while True:
            frame = await self._frames.get()
            if isinstance(frame, AgoraError):
                await self.refuse(frame)
            else:
                yield frame

    async def refuse(self, error: AgoraError) -> None:
        """Answer a frame with an error; the socket stays open.

        Raises:
            AgoraError: `too_many_requests`, far too many frames were refused.
        """
        await self.send(error_frame(error.problem))
        self._refused += 1
        if self._refused >= REFUSED_MAX:
            raise AgoraError("too_many_requests", f"{self._refused} frames were refused on this socket")

    async def send(self, frame: bytes) -> None:
        """Send one frame of text, once what was sent before is on its way.

        Raises:
            Gone: nobody takes it.
        """
        async with self._sending:
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await self._socket.send({"type": "websocket.send", "text": frame.decode(), "bytes": None})
            except Exception as error:
                raise Gone(repr(error)) from error

    async def read(self) -> None:
        """Take frames in until the client leaves. No more are read than are dealt with."""
        while True:
            message: Any = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] == "websocket.receive":
                await self._frames.put(self._looked_at(message))

    def _looked_at(self, message: Any) -> Frame:
        now = time.monotonic()
        full = len(self._times) == FRAMES_MAX
        if full and now - self._times[0] < FRAMES_SECONDS:
            wait = int(FRAMES_SECONDS - (now - self._times[0])) + 1
            detail = f"a socket takes {FRAMES_MAX} frames in {FRAMES_SECONDS:g} s; wait {wait} s"
            return AgoraError("too_many_requests", detail, retry_after_seconds=wait)
        self._times.append(now)
        text = message.get("text")
        if text is None:
            return AgoraError("malformed_request", "send frames of text, which hold JSON; this one is binary")
        frame: bytes = text.encode()
        if len(frame) > FRAME_BYTES_MAX:
            detail = (
                f"the frame has {len(frame)} bytes, more than {FRAME_BYTES_MAX}; send large data as a file"
            )
            return AgoraError("payload_too_large", detail)
        return frame


class Sockets:
    """The sockets of this process.

    Args:
        keys: whose keys work.
        closing: set when the process stops; every socket then closes, and its reader comes back elsewhere.
    """

    def __init__(self, keys: Keys, closing: asyncio.Event) -> None:
        self._keys = keys
        self._closing = closing
        self._open = PerTenant("sockets", SOCKETS_PER_TENANT_MAX)
        self._served = 0
        self._none_served = asyncio.Event()
        self._none_served.set()

    @property
    def count(self) -> int:
        """How many are open, of all tenants."""
        return self._open.count

    async def serve(self, socket: WebSocket[Any, Any, Any], scope: Scope, work: Work) -> None:
        """Let a tenant whose key has `scope` in, and do `work` until it ends, the client leaves or we stop."""
        self._served += 1
        self._none_served.clear()
        try:
            await self._serve(socket, scope, work)
        finally:
            self._served -= 1
            if not self._served:
                self._none_served.set()

    async def drain(self) -> None:
        """Return when every socket is closed, which they do by themselves; after a few seconds in any case."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none_served.wait(), _DRAIN_SECONDS)

    async def _serve(self, socket: WebSocket[Any, Any, Any], scope: Scope, work: Work) -> None:
        offered = socket.scope.get("subprotocols") or []
        await socket.accept(subprotocols=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        session = Session(socket, self._keys, scope)
        reading = asyncio.create_task(session.read(), name="socket: read")
        working = asyncio.create_task(self._work(session, work), name="socket: work")
        stopping = asyncio.create_task(self._closing.wait(), name="socket: stop")
        tasks = {reading, working, stopping}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone = reading.done()
            code = working.result() if working.done() and not working.cancelled() else RESTARTING
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not gone:
            with suppress(Exception):
                await socket.close(RESTARTING if self._closing.is_set() else code)

    async def _work(self, session: Session, work: Work) -> int:
        """The work, and with which code the socket closes after it."""
        try:
            await session.sign_in()
            with self._open.take(session.tenant.id):
                await work(session)
        except Gone as error:
            log.debug("socket gone", reason=str(error))
            return TOO_MUCH
        except Exception as error:
            problem = problems.to_problem(error, f"WS {session.path}")
            with suppress(Gone):
                await session.send(error_frame(problem))
            return 4000 + problem.status
        return NORMAL


_HOW = (
    "send a header 'Authorization: Bearer ak_...', the subprotocol 'agora.key.ak_...', or a first frame"
    ' {"type": "authenticate", "key": "ak_..."}'
)


async def run_until_first_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Do several things at once until the first of them ends; what it raises is raised, the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class _ErrorFrame(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    error: str
    code: str
    problem: Problem


def error_frame(problem: Problem) -> bytes:
    """`{type: error, error, code, problem}`: in words, as a stable code, and whole."""
    return msgspec.json.encode(_ErrorFrame(error=problem.detail, code=problem.slug, problem=problem))


def _key_of(socket: WebSocket[Any, Any, Any]) -> str | None:
    """The key that came with the handshake."""
    token = credential(socket.scope["headers"])
    if token is not None:
        return token
    for offered in socket.scope.get("subprotocols") or []:
        if offered.startswith(KEY_SUBPROTOCOL):
            return str(offered.removeprefix(KEY_SUBPROTOCOL))
    return None
