"""How a message becomes a run, and the run's end an answer: in a conversation that is kept, or in a run by itself."""

from typing import Protocol

import msgspec
from agora_contracts.ids import is_id
from agora_contracts.problems import AgoraError
from agora_contracts.runs import GetRun, Run, StartRun
from agora_kit.broker import Broker

from agora_gateway.edge.headers import fingerprint, requested_id
from agora_gateway.edge.principals import Tenant
from agora_gateway.edge.shapes import read_max_cost
from agora_gateway.playground.model import UserMessage, answer_text


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A message and the run that answers it."""

    message: str
    run: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: its message's id, its text, and the run as it ended."""

    message: str
    content: str
    run: Run


class Answers(Protocol):
    """One way to be answered, for one socket."""

    async def join(self, frame: UserMessage, current: str | None) -> str:
        """The conversation that a message goes into; `current` is the socket's, if there is one.

        Raises:
            AgoraError: there is no such conversation, or it is with another agent.
        """
        ...

    async def ask(self, conversation: str, frame: UserMessage) -> Asked:
        """Start the run that answers a message, once per `message_id`.

        Raises:
            AgoraError: what refuses a run; nothing is started or charged then.
        """
        ...

    async def leave(self, conversation: str) -> None:
        """Keep nothing of a conversation that a message began which was refused."""
        ...

    async def reply(self, conversation: str, frame: UserMessage, asked: Asked) -> Reply:
        """The answer, once the run has ended."""
        ...


class RunAnswers:
    """Each message is a run of its own, of a package that holds no conversations: nothing is remembered.

    Args:
        target: the package's id, or the rental's.
        field: the field of its input that takes the message.
    """

    def __init__(self, broker: Broker, tenant: Tenant, target: str, field: str) -> None:
        self._broker = broker
        self._tenant = tenant
        self._target = target
        self._field = field

    async def join(self, frame: UserMessage, current: str | None) -> str:
        """Any name of a conversation will do, as nothing is kept of it."""
        asked = frame.conversation_id or current
        if asked is None:
            return conversation_id(self._tenant, frame)
        return _existing(asked)

    async def ask(self, conversation: str, frame: UserMessage) -> Asked:
        """Start the run."""
        tenant = self._tenant
        rented = is_rental(self._target)
        # A message is the same on every socket, whatever conversation it is said to be in: none is kept.
        key = None if frame.message_id is None else f"playground:{self._target}:{frame.message_id}"
        command = StartRun(
            run_id=requested_id("run", tenant.id, key),
            tenant=tenant.id,
            account=tenant.account,
            fingerprint=fingerprint("playground", self._target, [frame.content, frame.input, frame.max_cost]),
            requested_by=tenant.key,
            package=None if rented else self._target,
            deployment=self._target if rented else None,
            input={**frame.input, self._field: frame.content},
            max_cost=read_max_cost(frame.max_cost),
        )
        run: Run = await self._broker.ask(command)
        return Asked(message=f"msg_{run.id.removeprefix('run_')}", run=run.id)

    async def leave(self, conversation: str) -> None:
        """Nothing is kept anyway."""

    async def reply(self, conversation: str, frame: UserMessage, asked: Asked) -> Reply:
        """What of the run's output is the answer."""
        run: Run = await self._broker.ask(GetRun(run=asked.run, tenant=self._tenant.id))
        return Reply(message=asked.message, content=answer_text(run.output), run=run)


def is_rental(target: str) -> bool:
    """Whether a target is a deployment, and not a package."""
    return target.startswith("dep_")


def conversation_id(tenant: Tenant, frame: UserMessage) -> str:
    """The id of the conversation that a message begins: the same when the message is sent again."""
    key = None if frame.message_id is None else f"conversation:{frame.message_id}"
    return requested_id("conv", tenant.id, key)


def _existing(conversation: str) -> str:
    if not is_id("conv", conversation):
        raise AgoraError("not_found", f"there is no conversation {conversation[:80]!r}")
    return conversation
