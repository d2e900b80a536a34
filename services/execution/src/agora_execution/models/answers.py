"""What comes of a call for the agent and for its row: the refusal, the reply given again, the reply as it is kept."""

import msgspec
from agora import ModelBudgetSpent, ModelReply, ModelUnavailable
from agora.messages import Embedded, OnText
from agora_contracts.money import format_amount

from agora_execution.database import json_text
from agora_execution.models.model import REPLY_BYTES_MAX, Opened


def refused(opened: Opened) -> ModelUnavailable:
    """What an agent is told of a try that was not opened."""
    match opened.refusal:
        case "ended":
            return ModelUnavailable("The run has ended: its calls are not made any more.")
        case "never":
            return ModelBudgetSpent(
                "What is set aside for models does not cover the worst case of this call any more; "
                f"{format_amount(opened.missing)} are missing.",
                missing=opened.missing,
                needed=opened.amount,
                limit=opened.limit,
            )
        case _:
            return ModelUnavailable(
                "What is set aside for models is reserved by other calls of this run, which take too long."
            )


def again[R: (ModelReply, Embedded)](reply: R, on_text: OnText | None) -> R:
    """A reply that was given before, given again."""
    if on_text is not None and isinstance(reply, ModelReply) and reply.text:
        on_text(reply.text)
    return reply


def encoded(reply: msgspec.Struct) -> bytes | None:
    """The reply as it is kept; None where it is too long for that."""
    kept = json_text(reply).encode()
    return kept if len(kept) <= REPLY_BYTES_MAX else None
