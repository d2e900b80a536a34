"""Being answered in a conversation that is kept: the next socket, and the routes of conversations, find it again."""

import structlog
from agora_contracts.conversations import (
    Conversation,
    DeleteConversation,
    GetConversation,
    MessagePosted,
    PostMessage,
    StartConversation,
)
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.runs import GetRun, Run
from agora_kit.broker import Broker

from agora_gateway.edge.headers import fingerprint, requested_id
from agora_gateway.edge.principals import Tenant
from agora_gateway.edge.routing import existing
from agora_gateway.edge.shapes import read_max_cost
from agora_gateway.playground.answers import Asked, Reply, conversation_id, is_rental
from agora_gateway.playground.model import UserMessage

log = structlog.get_logger()


class ConversationAnswers:
    """Messages to an agent whose manifest says how it converses.

    Args:
        target: the package's id, or the rental's.
    """

    def __init__(self, broker: Broker, tenant: Tenant, target: str) -> None:
        self._broker = broker
        self._tenant = tenant
        self._target = target

    async def join(self, frame: UserMessage, current: str | None) -> str:
        """The conversation that is named, the socket's own, or a new one.

        Raises:
            AgoraError: `not_found`, also for a conversation with another agent; `invalid_input`, for another `input` than
                the one that it was begun with.
        """
        named = frame.conversation_id or current
        if named is None:
            return await self._begin(frame)
        query = GetConversation(conversation=existing("conv", named), tenant=self._tenant.id)
        found: Conversation = await self._broker.ask(query)
        if self._target != (found.deployment or found.package):
            raise AgoraError("not_found", f"the conversation {named} is with another agent")
        if frame.input and frame.input != found.input:
            detail = "is settled when a conversation begins; leave it out, or begin another conversation"
            raise AgoraError(
                "invalid_input", f"the input {detail}", errors=[FieldError(field="/input", detail=detail)]
            )
        return found.id

    async def _begin(self, frame: UserMessage) -> str:
        tenant, rented = self._tenant, is_rental(self._target)
        command = StartConversation(
            conversation=conversation_id(tenant, frame),
            tenant=tenant.id,
            account=tenant.account,
            fingerprint=fingerprint("playground", self._target, frame.input),
            package=None if rented else self._target,
            deployment=self._target if rented else None,
            input=frame.input,
            requested_by=tenant.key,
        )
        begun: Conversation = await self._broker.ask(command)
        return begun.id

    async def ask(self, conversation: str, frame: UserMessage) -> Asked:
        """Post the message, once per `message_id`."""
        posted: MessagePosted = await self._broker.ask(
            self._post(conversation, frame, requested_id("msg", conversation, frame.message_id))
        )
        return Asked(message=posted.message.id, run=posted.run)

    async def leave(self, conversation: str) -> None:
        """Delete the conversation, unless a message came into it meanwhile."""
        try:
            await self._broker.ask(
                DeleteConversation(conversation=conversation, tenant=self._tenant.id, only_empty=True)
            )
        except AgoraError as error:
            # It is empty then, and can be gone on with under its own input.
            log.info("a conversation without a message stays", conversation=conversation, error=repr(error))

    async def reply(self, conversation: str, frame: UserMessage, asked: Asked) -> Reply:
        """The assistant's message, which is there as soon as the run has ended.

        Raises:
            AgoraError: `unavailable`, should it not be.
        """
        posted: MessagePosted = await self._broker.ask(self._post(conversation, frame, asked.message))
        run: Run = await self._broker.ask(GetRun(run=asked.run, tenant=self._tenant.id))
        if posted.reply is None:
            raise AgoraError("unavailable", "the reply is not there yet; list the conversation's messages")
        return Reply(message=posted.reply.id, content=posted.reply.content, run=run)

    def _post(self, conversation: str, frame: UserMessage, message: str) -> PostMessage:
        tenant = self._tenant
        return PostMessage(
            conversation=conversation,
            message=message,
            tenant=tenant.id,
            account=tenant.account,
            content=frame.content,
            fingerprint=fingerprint("message", conversation, [frame.content, frame.max_cost]),
            requested_by=tenant.key,
            max_cost=read_max_cost(frame.max_cost),
        )
