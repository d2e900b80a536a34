"""One socket of the playground: messages in, the stream of the run that answers each out."""

import asyncio
import time
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from agora_contracts.catalog import GetPackage, PackageDetail
from agora_contracts.deployments import Deployment, GetDeployment
from agora_contracts.problems import AgoraError, FieldError, Problem, from_problem
from agora_contracts.runs import CancelRun
from agora_kit.broker import Broker

from agora_gateway.edge import bodies, problems
from agora_gateway.edge.routing import existing, existing_package
from agora_gateway.edge.sockets import Gone, Session, error_frame, run_until_first_ends
from agora_gateway.playground.answers import Answers, Asked, RunAnswers
from agora_gateway.playground.conversation_answers import ConversationAnswers
from agora_gateway.playground.model import (
    CLIENT_FRAME,
    AgentLoaded,
    Cancel,
    ContentReset,
    ConversationStarted,
    MessageComplete,
    MessageStarted,
    RunEvent,
    RunFailed,
    UserMessage,
    message_field,
)
from agora_gateway.runs.feeds import RunFeeds
from agora_gateway.runs.live_shapes import LIVE_TYPES
from agora_gateway.runs.stream import KEEP_ALIVE, RunStream, StreamEvent

LOOK_SECONDS = 5.0
"""How often a socket on which nothing is said is looked at: whether its key still works, and for how long it is idle."""
IDLE_SECONDS = 1800.0
"""After so long without a message or an answer under way a socket is closed."""

_ANSWER = "answer"
"""The stream of text that is the answer; the others are shown as what they are."""


class _Piece(msgspec.Struct, frozen=True):
    """Of a piece of text, what says where it belongs."""

    step: str
    stream: str
    take: int


_decode_piece = msgspec.json.Decoder(_Piece).decode


class Talk:
    """What one socket says to one agent: a package, or a rental (`dep_…`)."""

    def __init__(self, broker: Broker, feeds: RunFeeds, session: Session, target: str) -> None:
        self._broker = broker
        self._feeds = feeds
        self._session = session
        self._target = target
        self._answers: Answers
        self._conversation: str | None = None
        self._run: str | None = None
        self._answering: asyncio.Task[None] | None = None
        self._spoken_at = time.monotonic()

    async def go_on(self) -> None:
        """Load the agent, then answer message by message until the client leaves, or says nothing for long.

        Raises:
            AgoraError: there is no such agent, or none that takes messages; or the key no longer works.
        """
        await self._load()
        try:
            await run_until_first_ends(self._listen(), self._until_idle())
        finally:
            if self._answering is not None:
                # The run goes on; only this socket hears no more of it.
                self._answering.cancel()
                await asyncio.gather(self._answering, return_exceptions=True)

    async def _listen(self) -> None:
        async for frame in self._session.frames():
            self._spoken_at = time.monotonic()
            await self._session.permit()
            try:
                await self._take(bodies.decode(frame, CLIENT_FRAME))
            except AgoraError as error:
                await self._session.refuse(error)

    async def _until_idle(self) -> None:
        """Return when nothing was said for long; the key is looked at meanwhile, as no frame has it looked at."""
        while time.monotonic() - self._spoken_at < IDLE_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            await self._session.still_permit()
            if self._busy:
                self._spoken_at = time.monotonic()

    @property
    def _busy(self) -> bool:
        return self._answering is not None and not self._answering.done()

    async def _load(self) -> None:
        if self._target.startswith("dep_"):
            tenant = self._session.tenant.id
            query = GetDeployment(deployment=existing("dep", self._target), tenant=tenant)
            rental: Deployment = await self._broker.ask(query)
            package, version = rental.package, rental.version
        else:
            package, version = existing_package(self._target), None
        detail: PackageDetail = await self._broker.ask(GetPackage(package=package, version=version))
        summary = detail.summary
        if version is None and not summary.executable:
            raise AgoraError(
                "not_executable",
                f"{summary.id} {summary.version} is {summary.state}; it cannot be executed on this platform",
            )
        self._answers = self._answers_of(detail)
        await self._send(
            AgentLoaded(
                agent_id=self._target, package=summary.id, version=summary.version, title=summary.title
            )
        )

    def _answers_of(self, detail: PackageDetail) -> Answers:
        tenant = self._session.tenant
        if detail.manifest.conversation is not None:
            return ConversationAnswers(self._broker, tenant, self._target)
        field = message_field(detail.schemas.input)
        if field is None:
            package = detail.summary.id
            raise AgoraError(
                "not_executable",
                f"{package} takes more than a message; start it with POST /api/v1/packages/{package}/execute",
            )
        return RunAnswers(self._broker, tenant, self._target, field)

    async def _take(self, frame: UserMessage | Cancel) -> None:
        if isinstance(frame, Cancel):
            if self._run is None or not self._busy:
                raise AgoraError("conflict", "there is no message being answered that could be cancelled")
            tenant = self._session.tenant
            await self._broker.ask(CancelRun(run=self._run, tenant=tenant.id, requested_by=tenant.key))
            return
        if self._busy:
            raise AgoraError(
                "conflict", "the message before is still being answered; wait for message_complete, or cancel"
            )
        try:
            conversation, asked = await self._ask(frame)
        except AgoraError as error:
            if error.slug != "idempotency_conflict":
                raise
            detail = "was used for another message; use a new one"
            errors = [FieldError(field="/message_id", detail=detail)]
            raise AgoraError(error.slug, f"this message_id {detail}", errors=errors) from error
        self._run = asked.run
        work = self._answer_or_say_why(conversation, frame, asked)
        self._answering = asyncio.create_task(work, name=f"answer {asked.run}")

    async def _ask(self, frame: UserMessage) -> tuple[str, Asked]:
        """Start the run that answers a message. A conversation that only a refused message began is none."""
        begins = frame.conversation_id is None and self._conversation is None
        conversation = await self._answers.join(frame, self._conversation)
        try:
            asked = await self._answers.ask(conversation, frame)
        except AgoraError as error:
            # Where the platform did not answer, the run may have been started.
            if begins and error.problem.status < 500:
                await self._answers.leave(conversation)
            else:
                await self._joined(conversation)
            raise
        await self._joined(conversation)
        return conversation, asked

    async def _joined(self, conversation: str) -> None:
        if conversation != self._conversation:
            self._conversation = conversation
            await self._send(ConversationStarted(conversation_id=conversation))

    # --- the answer ------------------------------------------------------------------------------

    async def _answer_or_say_why(self, conversation: str, frame: UserMessage, asked: Asked) -> None:
        try:
            await self._answer(conversation, frame, asked)
        except Gone:
            # The reader of frames finds out by itself.
            return
        except Exception as error:
            problem = problems.to_problem(error, f"WS {self._session.path}")
            with suppress(Gone):
                await self._session.send(error_frame(problem))

    async def _answer(self, conversation: str, frame: UserMessage, asked: Asked) -> None:
        await self._send(
            MessageStarted(conversation_id=conversation, message_id=asked.message, run_id=asked.run)
        )
        shown = await self._relay(asked.run)
        reply = await self._answers.reply(conversation, frame, asked)
        run = reply.run
        if run.error is not None:
            await self._send(RunFailed(run_id=run.id, error=run.error.detail, code=run.error.code))
        elif reply.content and not shown:
            await self._send_whole(run.id, reply.content)
        status: Any = run.status
        await self._send(
            MessageComplete(
                message_id=reply.message,
                conversation_id=conversation,
                run_id=run.id,
                status=status,
                content=reply.content,
                output=run.output,
            )
        )

    async def _relay(self, run: str) -> bool:
        """Show a run's events until it has finished. Returns whether anything of its answer was shown.

        Raises:
            AgoraError: the stream ended before, such as when the key was revoked.
        """
        stream = RunStream(
            self._broker,
            self._feeds,
            tenant=self._session.tenant.id,
            run=run,
            after=0,
            permit=self._session.permit,
        )
        shown = _Shown(run)
        async with aclosing(stream.events(await stream.journal())) as events:
            async for event in events:
                if event.type == "problem":
                    raise from_problem(msgspec.json.decode(event.data, type=Problem))
                for frame in shown.frames(event):
                    await self._session.send(frame)
                if event.type == "run.finished":
                    return shown.any
        # The stream ends early when this process stops; then so does the socket.
        raise Gone("the stream ended")

    async def _send_whole(self, run: str, content: str) -> None:
        """An agent that writes nothing while it works has its answer shown in one piece."""
        delta = {"type": "content_delta", "run": run, "stream": _ANSWER, "offset": 0, "delta": content}
        await self._session.send(msgspec.json.encode(delta))

    async def _send(self, frame: msgspec.Struct) -> None:
        await self._session.send(msgspec.json.encode(frame))


class _Shown:
    """The frames of one run's events, and what was shown of its answer."""

    def __init__(self, run: str) -> None:
        self.any = False
        self._run = run
        self._takes: dict[tuple[str, str], int] = {}

    def frames(self, event: StreamEvent) -> list[bytes]:
        """What of an event is shown, as frames."""
        if event is KEEP_ALIVE:
            return [b'{"type":"keep_alive"}']
        if event.type in ("content_delta", "content_snapshot"):
            return self._text(event)
        if event.type in LIVE_TYPES:
            return [_flat(event.type, event.data)]
        shown = RunEvent(event=event.type, id=event.seq, data=msgspec.Raw(event.data))
        return [msgspec.json.encode(shown)]

    def _text(self, event: StreamEvent) -> list[bytes]:
        piece = _decode_piece(event.data)
        if piece.stream != _ANSWER:
            return [_flat(event.type.replace("content", "stream"), event.data)]
        self.any = True
        key = (piece.step, piece.stream)
        anew = self._takes.get(key, piece.take) != piece.take and event.type == "content_delta"
        self._takes[key] = piece.take
        reset = [msgspec.json.encode(ContentReset(run_id=self._run, step=piece.step))] if anew else []
        return [*reset, _flat(event.type, event.data)]


def _flat(kind: str, data: bytes) -> bytes:
    """An event's data with its type among its fields."""
    return b'{"type":"%s",%s' % (kind.encode(), data[1:])
