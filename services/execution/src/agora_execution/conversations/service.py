"""Use cases of conversations: begin, read, delete, and a message with its run."""

from agora_contracts.conversations import (
    Conversation,
    ConversationPage,
    DeleteConversation,
    GetConversation,
    ListConversations,
    ListMessages,
    MessagePage,
    MessagePosted,
    PostMessage,
    StartConversation,
)
from agora_contracts.problems import AgoraError
from agora_contracts.runs import Run, StartRun
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database

from agora_execution.conversations import store
from agora_execution.conversations.model import (
    Exchange,
    busy,
    messages,
    require_conversational,
    require_free_field,
    run_of,
    works_on,
)
from agora_execution.conversations.store import ConversationRow
from agora_execution.packages.model import null_characters
from agora_execution.runs import recording
from agora_execution.runs.admission import Admission
from agora_execution.runs.model import NewRun
from agora_execution.runs.service import Runs


class Conversations:
    """Holds conversations: one run at a time, admitted together with the message that it answers."""

    def __init__(self, database: Database, admission: Admission, runs: Runs) -> None:
        self._database = database
        self._admission = admission
        self._runs = runs

    async def start(self, command: StartConversation) -> Conversation:
        """Begin a conversation; nothing is run or charged yet.

        Raises:
            AgoraError: `not_found`, `not_executable`, `not_conversational`, `invalid_input`,
                `payload_too_large`, `idempotency_conflict`. Nothing is stored then.
        """
        async with self._database.transaction(command.tenant) as connection:
            known = await store.read(connection, command.conversation)
        if known is not None:
            return _same(command, known)
        target = await self._admission.target(command)
        fields = require_conversational(target.package)
        require_free_field(fields, command.input)
        if null_characters(command.input) or "\0" in command.title:
            raise AgoraError("invalid_input", "the character U+0000 cannot be stored; leave it out")
        await self._admission.check_beside(target, command.tenant, command.input, fields.input)
        async with self._database.transaction(command.tenant) as connection:
            await store.insert(connection, command, target.package.package)
            row = await store.read(connection, command.conversation)
        if row is None:
            raise AgoraError("idempotency_conflict", "this id belongs to another conversation")
        return _same(command, row)

    async def get(self, query: GetConversation) -> Conversation:
        """One conversation.

        Raises:
            AgoraError: `not_found`, also for another tenant's.
        """
        return (await self._read(query.tenant, query.conversation)).public

    async def page(self, query: ListConversations) -> ConversationPage:
        """A tenant's conversations, the one with the newest message first."""
        async with self._database.transaction(query.tenant) as connection:
            return await store.page(connection, query)

    async def delete(self, command: DeleteConversation) -> Conversation:
        """Delete a conversation with its messages; its runs stay.

        Raises:
            AgoraError: `not_found`; `conversation_busy`, while a run works on it; `conflict`, when it is to be empty and is not.
        """
        async with self._database.transaction(command.tenant) as connection:
            row = await store.read(connection, command.conversation, lock=True)
            if row is None:
                raise _not_found(command.conversation)
            if command.only_empty and row.exchanges:
                raise AgoraError("conflict", f"the conversation {command.conversation} has messages")
            if row.public.running is not None:
                raise works_on(row.public.running)
            await store.delete(connection, command.conversation)
        return row.public

    async def messages(self, query: ListMessages) -> MessagePage:
        """A conversation's messages, oldest first.

        Raises:
            AgoraError: `not_found`, `invalid_cursor`.
        """
        after = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else 0
        await self._read(query.tenant, query.conversation)
        async with self._database.transaction(query.tenant) as connection:
            found, more = await store.exchanges_from(
                connection, query.conversation, max(after, 0) // 2 + 1, query.limit
            )
        said = messages(found, after)
        shown = said[: query.limit]
        more = more or len(said) > len(shown)
        return MessagePage(items=shown, next_cursor=encode_cursor(shown[-1].seq) if more and shown else None)

    async def post(self, command: PostMessage) -> MessagePosted:
        """Add a user's message and start the run that answers it: both, exactly once, or neither.

        Raises:
            AgoraError: `not_found`; `conversation_busy`, while a run works on the message before;
                `not_conversational`; `idempotency_conflict`; and what refuses a run (`invalid_input`,
                `not_executable`, `insufficient_credit`, `budget_exhausted`).
        """
        row = await self._read(command.tenant, command.conversation)
        async with self._database.transaction(command.tenant) as connection:
            known = await store.exchange(connection, command.message)
        if known is not None:
            return await self._posted(command, known)
        if row.public.running is not None:
            raise busy(row.public.running)
        named = row.named
        target = await self._admission.target(named)
        fields = require_conversational(target.package)
        start = StartRun(
            run_id=run_of(command.message),
            tenant=command.tenant,
            account=command.account,
            fingerprint=command.fingerprint,
            requested_by=command.requested_by,
            package=named.package,
            version=named.version,
            deployment=named.deployment,
            input={**row.public.input, fields.input: command.content},
            max_cost=command.max_cost,
        )

        async def accept(new: NewRun) -> Run:
            return await self._accept(command, new, fields.output)

        await self._admission.start(start, accept=accept)
        async with self._database.transaction(command.tenant) as connection:
            known = await store.exchange(connection, command.message)
        if known is None:
            raise AgoraError("conflict", "the conversation of this message was deleted; begin another one")
        return await self._posted(command, known)

    async def _accept(self, command: PostMessage, new: NewRun, answer_field: str) -> Run:
        """Accept the run and add its message in one transaction, in which no other message can come between."""
        async with self._database.system() as connection:
            row = await store.read(connection, command.conversation, lock=True)
            if row is None or row.public.tenant != command.tenant:
                raise _not_found(command.conversation)
            known = await store.exchange(connection, command.message)
            if known is None:
                if row.public.running is not None:
                    raise busy(row.public.running)
                await store.add(connection, command, row, new.id, answer_field)
            # A twin that was faster has brought message and run: then this gives its run, or the conflict.
            (accepted,) = await recording.accept_runs(connection, [new])
            if isinstance(accepted, AgoraError):
                raise accepted
        return accepted

    async def _posted(self, command: PostMessage, known: tuple[Exchange, str]) -> MessagePosted:
        exchange, fingerprint = known
        if fingerprint != command.fingerprint or exchange.conversation != command.conversation:
            raise AgoraError(
                "idempotency_conflict", "this Idempotency-Key was used for another message; use a new key"
            )
        if not exchange.ended and command.wait_seconds:
            await self._runs.wait(exchange.run, command.tenant, command.wait_seconds)
            async with self._database.transaction(command.tenant) as connection:
                again = await store.exchange(connection, command.message)
            exchange = exchange if again is None else again[0]
        return MessagePosted(message=exchange.asked, run=exchange.run, reply=exchange.reply)

    async def _read(self, tenant: str, conversation: str) -> ConversationRow:
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, conversation)
        if row is None:
            raise _not_found(conversation)
        return row


def _not_found(conversation: str) -> AgoraError:
    return AgoraError("not_found", f"no conversation {conversation}")


def _same(command: StartConversation, known: ConversationRow) -> Conversation:
    if known.fingerprint != command.fingerprint:
        raise AgoraError(
            "idempotency_conflict", "this Idempotency-Key was used for another request; use a new key"
        )
    return known.public
