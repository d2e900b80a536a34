"""Examples of what every process answers, and of problems."""

import msgspec

from agora_contracts import platform
from agora_contracts.examples import story
from agora_contracts.problems import AgoraError, FieldError

EXAMPLES: tuple[msgspec.Struct, ...] = (
    platform.GetHealth(),
    platform.Health(
        service="billing", status="degraded", checks={"database": "ok", "nats": "connection refused"}
    ),
    platform.ListDeadLetters(cursor=story.CURSOR, limit=20),
    platform.DeadLetterPage(
        items=[
            platform.DeadLetter(
                id=17,
                subject=f"agora.evt.{story.TENANT}.usage.event.recorded",
                reason="cannot be decoded: Expected `str`, got `int` - at `$.data.meter`",
                message_id="evt_0195561d8f3a7c0e9d2b4a6c8e0f1a2b",
                payload='{"id":"evt_0195561d8f3a7c0e9d2b4a6c8e0f1a2b"}',
                received_at=story.FINISHED_AT,
                replayed_at=story.SETTLED_AT,
            )
        ],
        next_cursor=story.CURSOR,
    ),
    platform.ReplayDeadLetters(ids=[17, 18]),
    platform.ReplayReport(accepted=1, refused=[18]),
    AgoraError(
        "invalid_input",
        "the input does not fit the schema of data-processor 1.2.0",
        errors=[FieldError(field="/file", detail="is required")],
    ).problem,
    AgoraError("overloaded", "too many requests at once", retry_after_seconds=1).problem,
)
