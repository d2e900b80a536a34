"""NATS in: commands and queries of schedules, and their times."""

from agora_contracts.identity import KeyRevoked
from agora_contracts.schedules import (
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    FireSchedule,
    GetSchedule,
    ListFires,
    ListSchedules,
    PauseSchedule,
    ResumeSchedule,
    TriggerSchedule,
)
from agora_kit.service import Service

from agora_execution.schedules import pausing
from agora_execution.schedules.firing import Firing
from agora_execution.schedules.service import Schedules


def register(service: Service, schedules: Schedules, firing: Firing) -> None:
    """Answer everything about schedules."""
    broker = service.broker
    broker.answer(CreateSchedule, schedules.create)
    broker.answer(GetSchedule, schedules.get)
    broker.answer(ListSchedules, schedules.page)
    broker.answer(ChangeSchedule, schedules.change)
    broker.answer(PauseSchedule, schedules.pause)
    broker.answer(ResumeSchedule, schedules.resume)
    broker.answer(DeleteSchedule, schedules.delete)
    broker.answer(ListFires, schedules.fires)
    broker.answer(TriggerSchedule, firing.trigger)
    broker.answer(FireSchedule, firing.fire)
    broker.consume("keys", [KeyRevoked], pausing.keys_revoked)
