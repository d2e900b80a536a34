"""NATS for a service: commands answered and asked (FastStream), events consumed in batches.

A reply is the answer's bytes, or a `Problem` with the header `Agora-Problem: 1`. Every request has a
deadline; within it a request is sent again when nobody was there to answer (a restart), which is safe
because every command is idempotent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, cast

import msgspec
import nats.errors
import structlog
from agora_contracts.catalogue import COMMANDS, SHARED_COMMANDS, shared_subject
from agora_contracts.problems import AgoraError, Problem, from_problem
from agora_contracts.subjects import Stream
from faststream import AckPolicy
from faststream.nats import NatsBroker, NatsMessage, NatsResponse
from nats.aio.client import Client

from agora_kit import deadlines, failpoints, telemetry
from agora_kit.consumer import EventConsumer, Handler
from agora_kit.database import UNSTORABLE, Database, is_transient, is_unstorable
from agora_kit.durable import DurableConsumer
from agora_kit.inbound import InboundConsumer, InboundHandler
from agora_kit.relay import ensure_streams

log = structlog.get_logger()

PROBLEM_HEADER = "Agora-Problem"
_IN_FLIGHT_MAX = 2000
_ATTEMPT_SECONDS = 5.0
_NOBODY_PAUSE_SECONDS = 0.1
_FLUSH_SECONDS = 600
_HEADERS_BYTES_MAX = 1024

type Answer[Request, Reply] = Callable[[Request], Awaitable[Reply]]

_encoder = msgspec.json.Encoder(decimal_format="string")


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


async def _undecoded(message: NatsMessage) -> NatsMessage:
    """Hand the message itself to the handler, which decodes it by its contract."""
    return message


class Broker:
    """One NATS connection of one process: what it answers, asks and consumes.

    Args:
        url: `nats://user:password@host:port`.
        process: the process' name on NATS, such as `billing` or `worker`; also its queue group.
    """

    def __init__(self, url: str, process: str) -> None:
        middlewares: list[Any] = []
        if telemetry.tracing_enabled():
            from faststream.nats.opentelemetry import NatsTelemetryMiddleware

            middlewares.append(NatsTelemetryMiddleware())
        self.process = process
        self._broker = NatsBroker(
            url,
            name=f"agora-{process}",
            logger=cast(Any, None),
            decoder=cast(Any, _undecoded),
            middlewares=middlewares,
            apply_types=False,
            serializer=None,
            graceful_timeout=10.0,
            max_reconnect_attempts=-1,
            reconnect_time_wait=cast(Any, 0.2),
            allow_reconnect=True,
            drain_timeout=10,
            error_cb=_log_connection_error,
            pending_size=16 * 1024 * 1024,
        )
        self._consumers: list[DurableConsumer] = []
        self._answered: list[type[msgspec.Struct]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._client: Client | None = None
        logging.getLogger("nats").setLevel(logging.ERROR)

    # --- set-up ----------------------------------------------------------------------------------

    def answer[Request: msgspec.Struct, Reply: msgspec.Struct](
        self, request: type[Request], answer: Answer[Request, Reply]
    ) -> None:
        """Answer a command of the catalogue; replicas of this process share the work."""
        spec = COMMANDS[request]
        if spec.service != self.process:
            raise ValueError(f"{request.__name__} belongs to {spec.service}, not {self.process}")
        self._answer_on(spec.subject, request, answer)

    def answer_shared[Request: msgspec.Struct, Reply: msgspec.Struct](
        self, request: type[Request], answer: Answer[Request, Reply]
    ) -> None:
        """Answer a message that every process answers (health, dead letters)."""
        self._answer_on(shared_subject(request, self.process), request, answer)

    def consume(
        self,
        purpose: str,
        events: Sequence[type[msgspec.Struct]],
        handler: Handler,
        **options: Any,
    ) -> EventConsumer:
        """Consume events under the durable `<process>-<purpose>`; options as for `EventConsumer`."""
        consumer = EventConsumer(f"{self.process}-{purpose}", events, handler, **options)
        self._consumers.append(consumer)
        return consumer

    def consume_inbound(
        self, purpose: str, stream: Stream, handler: InboundHandler, **options: Any
    ) -> InboundConsumer:
        """Consume what integrators publish on a stream; options as for `InboundConsumer`."""
        consumer = InboundConsumer(f"{self.process}-{purpose}", stream, handler, **options)
        self._consumers.append(consumer)
        return consumer

    @property
    def consumers(self) -> list[DurableConsumer]:
        """Everything this process consumes."""
        return self._consumers

    @property
    def answered(self) -> list[type[msgspec.Struct]]:
        """Every command that this process answers."""
        return self._answered

    def _answer_on(self, subject: str, request: type[msgspec.Struct], answer: Answer[Any, Any]) -> None:
        decode = _decoder(request).decode
        self._answered.append(request)

        async def handle(message: NatsMessage) -> NatsResponse:
            if not message.reply_to:
                # Nobody waits, so nobody of ours asked. JetStream's acknowledgement of an integrator's message comes
                # this way when the integrator names a command as where it is to go.
                return _refusal(AgoraError("malformed_request", "a command is asked with a reply subject"))
            if self._in_flight >= _IN_FLIGHT_MAX:
                return _refusal(AgoraError("overloaded", "too many requests at once", retry_after_seconds=1))
            try:
                asked = decode(message.body)
            except msgspec.MsgspecError as error:
                return _refusal(AgoraError("malformed_request", f"{request.__name__}: {error}"))
            self._in_flight += 1
            failpoints.enter(request.__name__)
            try:
                with deadlines.answering(message.headers):
                    reply = _encoder.encode(await answer(asked))
                if len(reply) > self._bytes_max:
                    # NATS would refuse it, and the caller wait for its deadline.
                    raise ValueError(f"an answer of {len(reply)} bytes does not fit into a message")
                return NatsResponse(reply)
            except AgoraError as error:
                return _refusal(error)
            except Exception as error:
                if is_transient(error):
                    log.warning("command failed for now", subject=subject, error=repr(error))
                    detail = "a part of the platform does not answer; try again shortly"
                    return _refusal(AgoraError("unavailable", detail, retry_after_seconds=1))
                if is_unstorable(error):
                    return _refusal(AgoraError("invalid_input", UNSTORABLE))
                log.exception("command failed", subject=subject)
                return _refusal(
                    AgoraError("internal", "something went wrong on our side; it has been logged")
                )
            finally:
                self._in_flight -= 1

        self._broker.subscriber(
            subject,
            queue=self.process,
            max_workers=_IN_FLIGHT_MAX,
            ack_policy=AckPolicy.MANUAL,
        )(handle)

    # --- life ------------------------------------------------------------------------------------

    async def start(self, database: Database | None = None) -> None:
        """Connect, make sure the streams are there, answer commands, and consume events."""
        await self._broker.connect()
        self._client = cast(Client, self._broker._connection)
        if self._consumers or database is not None:
            await ensure_streams(self._client.jetstream())
        await self._broker.start()
        if self._consumers:
            if database is None:
                raise ValueError("consumers need a database")
            self._tasks = [
                asyncio.create_task(consumer.run(self.client, database), name=consumer.name)
                for consumer in self._consumers
            ]

    async def stop(self) -> None:
        """Stop taking messages, let those at hand end, then close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._broker.stop()
        except nats.errors.Error as error:
            # Without a server there is nothing to drain.
            log.info("closing without draining", error=repr(error))
            await self.client.close()
        for flush in list(self._flushes):
            flush.cancel()

    @property
    def client(self) -> Client:
        """The NATS client, once started."""
        if self._client is None:
            raise RuntimeError("the broker is not started")
        return self._client

    @property
    def _bytes_max(self) -> int:
        """The largest message that the server takes, less its headers."""
        return self.client.max_payload - _HEADERS_BYTES_MAX

    async def check(self) -> None:
        """Raise when NATS does not answer."""
        if not self.client.is_connected:
            # While the client reconnects, its flush ends at once without a word.
            raise ConnectionError("not connected to NATS")
        await self.round_trip()

    async def round_trip(self, seconds: float = 2.0) -> None:
        """Return once the server has taken up what was sent so far.

        Raises:
            TimeoutError: not within so many seconds.
        """
        # A flush that is cancelled, or runs out of its own time, leaves a future behind on which the client's
        # read loop dies when the answer comes late (nats-py 2.16). So the flush goes on; only our waiting ends.
        flush = asyncio.create_task(self._flush())
        self._flushes.add(flush)
        flush.add_done_callback(self._flush_ended)
        done, _ = await asyncio.wait({flush}, timeout=seconds)
        if not done:
            raise TimeoutError(f"NATS did not answer in {seconds:g} s")
        flush.result()

    async def _flush(self) -> None:
        # The client's own flush asks at once, before what waits to be written: its answer says nothing of a
        # subscription that was made just now (nats-py 2.16).
        await self.client._flush_pending(force_flush=True)
        await self.client.flush(timeout=_FLUSH_SECONDS)

    def _flush_ended(self, flush: asyncio.Task[None]) -> None:
        self._flushes.discard(flush)
        if not flush.cancelled():
            flush.exception()

    # --- asking ----------------------------------------------------------------------------------

    async def ask(self, request: msgspec.Struct, *, deadline_seconds: float | None = None) -> Any:
        """Send a command of the catalogue and return its reply, within what the asker of the request at hand has left.

        Raises:
            AgoraError: what the other side answered; `unavailable` when nobody answered and
                `deadline_exceeded` when the answer did not come in time.
        """
        spec = COMMANDS[type(request)]
        deadline = deadline_seconds or spec.deadline_seconds
        return await self._ask(spec.subject, request, spec.reply, spec.service, deadline)

    async def ask_shared(
        self, request: msgspec.Struct, process: str, *, deadline_seconds: float = 5.0
    ) -> Any:
        """Send a message that every process answers to one of them."""
        reply = SHARED_COMMANDS[type(request)]
        return await self._ask(
            shared_subject(type(request), process), request, reply, process, deadline_seconds
        )

    async def _ask(self, subject: str, request: Any, reply: type, service: str, seconds: float) -> Any:
        payload = _encoder.encode(request)
        if len(payload) > self._bytes_max:
            # No later try could be sent either.
            raise AgoraError(
                "payload_too_large",
                f"{type(request).__name__} has {len(payload)} bytes, too many for a message",
            )
        left_to_asker = deadlines.seconds_left()
        if left_to_asker is not None:
            seconds = min(seconds, left_to_asker)
        end = time.monotonic() + seconds
        answered_late = False
        while (left := end - time.monotonic()) > 0:
            attempt = left if seconds > 3 * _ATTEMPT_SECONDS + 1 else min(left, _ATTEMPT_SECONDS)
            try:
                headers = {deadlines.HEADER: f"{left:.3f}", **(telemetry.trace_headers() or {})}
                message = await self.client.request(subject, payload, timeout=attempt, headers=headers)
            except nats.errors.NoRespondersError:
                await asyncio.sleep(min(_NOBODY_PAUSE_SECONDS, max(end - time.monotonic(), 0)))
                continue
            except (nats.errors.TimeoutError, TimeoutError):
                answered_late = True
                continue
            except (nats.errors.Error, OSError) as error:
                log.warning("request not sent, trying again", subject=subject, error=repr(error))
                await asyncio.sleep(min(_NOBODY_PAUSE_SECONDS, max(end - time.monotonic(), 0)))
                continue
            if message.headers and PROBLEM_HEADER in message.headers:
                raise from_problem(_decoder(Problem).decode(message.data))
            return _decoder(reply).decode(message.data)
        if answered_late:
            raise AgoraError(
                "deadline_exceeded", f"{service} did not answer in {seconds:g} s", retry_after_seconds=2
            )
        raise AgoraError("unavailable", f"{service} does not answer", retry_after_seconds=2)

    async def publish_live(self, subject: str, message: msgspec.Struct) -> None:
        """Publish over core NATS: seen by who listens now, stored nowhere."""
        await self.client.publish(subject, _encoder.encode(message))


def _refusal(error: AgoraError) -> NatsResponse:
    return NatsResponse(_encoder.encode(error.problem), headers={PROBLEM_HEADER: "1"})


async def _log_connection_error(error: Exception) -> None:
    log.warning("nats connection", error=repr(error))
