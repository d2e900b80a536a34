"""NATS in: commands and queries of conversations."""

from agora_contracts.conversations import (
    DeleteConversation,
    GetConversation,
    ListConversations,
    ListMessages,
    PostMessage,
    StartConversation,
)
from agora_kit.service import Service

from agora_execution.conversations.service import Conversations


def register(service: Service, conversations: Conversations) -> None:
    """Answer everything about conversations."""
    broker = service.broker
    broker.answer(StartConversation, conversations.start)
    broker.answer(GetConversation, conversations.get)
    broker.answer(ListConversations, conversations.page)
    broker.answer(DeleteConversation, conversations.delete)
    broker.answer(PostMessage, conversations.post)
    broker.answer(ListMessages, conversations.messages)
