"""Definitions of meters over NATS, and the sweep that makes their totals."""

from agora_contracts import meters as contracts
from agora_kit.service import Service

from agora_metering.meters import service as use_cases
from agora_metering.settings import MeteringSettings


def register(service: Service, settings: MeteringSettings) -> None:
    """Answer for meters, and back-fill those that want it."""
    database = service.database

    # Under the system role: a tenant sees the platform's meters beside its own.
    async def create_meter(command: contracts.CreateMeter) -> contracts.Meter:
        async with database.system() as connection:
            return await use_cases.create_meter(connection, command)

    async def list_meters(query: contracts.ListMeters) -> contracts.MeterList:
        async with database.system() as connection:
            return await use_cases.list_meters(connection, query)

    async def get_meter(query: contracts.GetMeter) -> contracts.Meter:
        async with database.system() as connection:
            return await use_cases.get_meter(connection, query)

    async def delete_meter(command: contracts.DeleteMeter) -> contracts.Meter:
        async with database.system() as connection:
            return await use_cases.delete_meter(connection, command)

    async def rebuild_meter(command: contracts.RebuildMeter) -> contracts.Meter:
        async with database.system() as connection:
            return await use_cases.rebuild_meter(connection, command)

    async def build_due() -> None:
        await use_cases.build_due(database)

    service.broker.answer(contracts.CreateMeter, create_meter)
    service.broker.answer(contracts.ListMeters, list_meters)
    service.broker.answer(contracts.GetMeter, get_meter)
    service.broker.answer(contracts.DeleteMeter, delete_meter)
    service.broker.answer(contracts.RebuildMeter, rebuild_meter)
    service.every(settings.build_sweep_seconds, "build meters", build_due)
