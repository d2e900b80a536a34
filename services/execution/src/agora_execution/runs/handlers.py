"""NATS in: commands and queries of runs, and billing's charges."""

from agora_contracts.billing import ChargeAdjusted, ChargeSettled
from agora_contracts.refunds import ChargeRefunded
from agora_contracts.runs import (
    CancelRun,
    EstimateRun,
    GetRun,
    ListRunEvents,
    ListRuns,
    ListSteps,
    Run,
    StartRun,
)
from agora_contracts.steering import ListChildren, PauseRun, RerunRun, ResumeRun
from agora_contracts.usage import ListRunUsage, ReplayRunUsage
from agora_kit.service import Service

from agora_execution.runs.admission import Admission
from agora_execution.runs.service import Runs
from agora_execution.runs.steering import Steering


def register(service: Service, admission: Admission, runs: Runs, steering: Steering) -> None:
    """Answer everything about runs; take charges up."""
    broker = service.broker

    async def start_run(command: StartRun) -> Run:
        return await runs.settled(lambda: admission.start(command), command.run_id, command.wait_seconds)

    broker.answer(StartRun, start_run)

    async def rerun_run(command: RerunRun) -> Run:
        return await runs.settled(lambda: admission.rerun(command), command.run_id, command.wait_seconds)

    broker.answer(RerunRun, rerun_run)
    broker.answer(EstimateRun, admission.estimate)
    broker.answer(GetRun, runs.get)
    broker.answer(ListRuns, runs.page)
    broker.answer(ListSteps, runs.steps)
    broker.answer(ListRunEvents, runs.events)
    broker.answer(CancelRun, runs.cancel)
    broker.answer(PauseRun, steering.pause)
    broker.answer(ResumeRun, steering.resume)
    broker.answer(ListChildren, steering.children)
    broker.answer(ListRunUsage, runs.usage_ids)
    broker.answer(ReplayRunUsage, runs.replay_usage)
    # A charge's revision tells whether it was taken up before, so no inbox is needed.
    broker.consume(
        "charges", [ChargeSettled, ChargeAdjusted, ChargeRefunded], runs.take_up_charges, inbox=False
    )
