"""What a run tells live: text as it is written, and the use of tools."""

from agora_contracts import live
from agora_contracts.examples import story

_TAKE = 1_772_442_901_300
_CALL = f"{story.STEP}#{_TAKE}.1"

EXAMPLES = (
    live.TextDelta(
        run=story.RUN,
        step=story.STEP,
        node="clean",
        stream="answer",
        take=_TAKE,
        offset=12,
        text=" of 40 rows",
    ),
    live.TextSnapshot(
        run=story.RUN,
        step=story.STEP,
        node="clean",
        stream="answer",
        take=_TAKE,
        offset=0,
        text="Repaired 38",
    ),
    live.ToolStarted(
        run=story.RUN,
        step=story.STEP,
        node="clean",
        call=_CALL,
        tool="look_up",
        title="Look up a post code",
        arguments={"city": "Bern"},
    ),
    live.ToolStarted(run=story.RUN, step=story.STEP, node="clean", call=_CALL, tool="store", shortened=True),
    live.ToolFinished(
        run=story.RUN, step=story.STEP, node="clean", call=_CALL, tool="look_up", result=["3000", "3001"]
    ),
    live.ToolFinished(
        run=story.RUN,
        step=story.STEP,
        node="clean",
        call=_CALL,
        tool="store",
        error="the disk is full",
        shortened=True,
    ),
)
