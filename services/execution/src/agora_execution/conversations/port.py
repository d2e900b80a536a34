"""The conversation that a run belongs to, behind the SDK's `Conversation` protocol."""

from agora import Message
from agora.conversation import HISTORY_MESSAGES_MAX, newest
from agora_kit.database import Database

from agora_execution.conversations import store
from agora_execution.conversations.model import Exchange
from agora_execution.patience import patiently


class RunConversation:
    """What was said before the message that a run answers. It is read when it is asked for, and never changes."""

    def __init__(self, database: Database, tenant: str, run: str) -> None:
        self._database = database
        self._tenant = tenant
        self._run = run

    async def messages(self, limit: int = 20) -> list[Message]:
        """The newest messages, oldest first; see `agora.conversation.Conversation.messages`."""
        if limit < 1:
            return []
        said: list[Message] = []
        for one in reversed(await patiently(self._before)):
            said.append(Message(role="user", content=one.content))
            if one.status == "succeeded":
                said.append(Message(role="assistant", content=one.answer or ""))
        return newest(said, limit)

    async def _before(self) -> list[Exchange]:
        async with self._database.transaction(self._tenant) as connection:
            return await store.before_run(connection, self._run, HISTORY_MESSAGES_MAX)
