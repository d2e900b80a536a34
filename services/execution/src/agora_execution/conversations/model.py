"""What a conversation is made of: exchanges, each a message of the user and the run that answers it. Pure rules.

The assistant's message is not kept beside the run: it is read from it. So it is there as soon as the run has ended,
however that came about, once, and says what the run says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agora_contracts.catalog import ConversationFields
from agora_contracts.conversations import CONTENT_CHARACTERS_MAX, ConversationMessage
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.runs import ENDED, RunError

from agora_execution.packages.model import PackageVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A message of the user, counted from 1 in its conversation, and how its run stands.

    `answer` is what the run's output holds in the field that answers, as text.
    """

    conversation: str
    number: int
    message: str
    content: str
    at: datetime
    run: str
    status: str
    finished_at: datetime | None
    answer: str | None
    error: RunError | None

    @property
    def ended(self) -> bool:
        """Whether its run is over."""
        return self.status in ENDED

    @property
    def asked(self) -> ConversationMessage:
        """The user's message."""
        return ConversationMessage(
            id=self.message,
            conversation=self.conversation,
            seq=2 * self.number - 1,
            role="user",
            content=self.content,
            run=self.run,
            at=self.at,
        )

    @property
    def reply(self) -> ConversationMessage | None:
        """The assistant's message; None while the run goes on."""
        if not self.ended or self.finished_at is None:
            return None
        return ConversationMessage(
            id=derived("msg", self.message, "reply"),
            conversation=self.conversation,
            seq=2 * self.number,
            role="assistant",
            content=self.answer or "" if self.status == "succeeded" else self._apology(),
            run=self.run,
            at=self.finished_at,
            error=self.error,
        )

    def _apology(self) -> str:
        detail = f": {self.error.detail}" if self.error is not None else ""
        return f"No answer: the run {_ENDINGS.get(self.status, self.status)}{detail}"[:CONTENT_CHARACTERS_MAX]


_ENDINGS = {"failed": "failed", "timed_out": "took too long", "cancelled": "was cancelled"}


def run_of(message: str) -> str:
    """The run that answers a message: the same for every try to post it."""
    return derived("run", message)


def require_conversational(package: PackageVersion) -> ConversationFields:
    """The fields through which a package converses.

    Raises:
        AgoraError: `not_conversational`, when it names none.
    """
    fields = package.manifest.conversation
    if fields is None:
        raise AgoraError(
            "not_conversational",
            f"{package.package} {package.version} holds no conversations: its manifest has no [conversation]; "
            "execute it instead",
        )
    return fields


def require_free_field(fields: ConversationFields, beside: Mapping[str, Any]) -> None:
    """Raises: AgoraError `invalid_input`, when what goes into every run takes the place of the message."""
    if fields.input in beside:
        raise AgoraError(
            "invalid_input",
            f"the field {fields.input!r} of the input is for the messages; leave it out",
            errors=[FieldError(field=f"/input/{fields.input}", detail="is taken by the message")],
        )


def busy(run: str) -> AgoraError:
    """The refusal of a message while a run works on the one before."""
    return AgoraError(
        "conversation_busy",
        f"{run} works on the message before; post this one when that run has ended, or cancel it",
        retry_after_seconds=2,
    )


def works_on(run: str) -> AgoraError:
    """The refusal of a conversation's deletion while a run works on it."""
    return AgoraError(
        "conversation_busy",
        f"{run} works on a message of it; delete the conversation when that run has ended, or cancel it",
        retry_after_seconds=2,
    )


def messages(exchanges: Sequence[Exchange], after_seq: int) -> list[ConversationMessage]:
    """The messages of exchanges in their order, those after a place."""
    both = (message for one in exchanges for message in (one.asked, one.reply) if message is not None)
    return [message for message in both if message.seq > after_seq]
