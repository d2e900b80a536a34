"""The rules of meters: which definitions make sense, and which one counts for a tenant."""

import dataclasses
from collections.abc import Collection, Iterable

from agora_contracts.meters import CreateMeter, Meter
from agora_contracts.periods import RENTAL_METERS
from agora_contracts.problems import FieldError
from agora_contracts.subjects import PLATFORM_TENANT

from agora_metering.totals.model import Definition


def definition_faults(command: CreateMeter) -> list[FieldError]:
    """Everything wrong with a definition that its types cannot say; empty when sound."""
    faults = []
    if command.key in RENTAL_METERS.values():
        detail = "is the platform's own: it counts the time of rentals; choose another key"
        faults.append(FieldError(field="key", detail=detail))
    if command.aggregation == "unique_count" and command.value is None:
        detail = "unique_count counts the distinct values of a dimension: name it"
        faults.append(FieldError(field="value", detail=detail))
    if command.aggregation == "count" and command.value is not None:
        detail = "count counts events, whatever they say: leave the value out, or take unique_count"
        faults.append(FieldError(field="value", detail=detail))
    if len(set(command.dimensions)) != len(command.dimensions):
        faults.append(FieldError(field="dimensions", detail="names a dimension twice"))
    return faults


def is_same(meter: Meter, command: CreateMeter) -> bool:
    """Whether a meter is what a command asks for."""
    return (
        meter.event == (command.event or command.key)
        and (meter.unit, meter.aggregation, meter.value) == (command.unit, command.aggregation, command.value)
        and meter.description == command.description
        and meter.dimensions == command.dimensions
    )


def resolve(definitions: Iterable[Definition], tenants: Collection[str]) -> list[Definition]:
    """The definitions that count for each of the tenants: its own, and the platform's. No key is both."""
    resolved = []
    for one in definitions:
        if one.tenant == PLATFORM_TENANT:
            resolved += [dataclasses.replace(one, tenant=tenant) for tenant in sorted(tenants)]
        else:
            resolved.append(one)
    return resolved


def definition_of(meter: Meter) -> Definition:
    """How usage is totalled under a meter."""
    return Definition(
        tenant=meter.tenant,
        key=meter.key,
        event=meter.event,
        aggregation=meter.aggregation,
        value=meter.value,
        dimensions=meter.dimensions,
    )
