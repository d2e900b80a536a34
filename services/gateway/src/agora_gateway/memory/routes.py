"""HTTP of what agents keep for a tenant: list, read, delete."""

from typing import Annotated

from agora_contracts.memory import DeleteMemory, GetMemory, ListMemory, MemoryKind
from agora_kit.broker import Broker
from litestar import Router, delete, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    Cursor,
    Limit,
    MemoryId,
    answers,
    existing,
    existing_package,
)
from agora_gateway.memory import shapes
from agora_gateway.memory.shapes import MemoryDeletedShape, MemoryEntryShape, MemoryPageShape, entry_shape

Package = Annotated[
    str | None, QueryParameter(name="package", description="Only what this package's agent keeps.")
]
OfPackage = Annotated[str, QueryParameter(name="package", description="Whose memory is deleted.")]
Kind = Annotated[
    MemoryKind | None, QueryParameter(name="kind", description="Only values under keys, or only texts.")
]


@get(
    "/",
    guards=[requires("read")],
    summary="List what agents remember",
    operation_id="listMemory",
    responses=answers(shapes.A_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_memory(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    package: Package = None,
    kind: Kind = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> MemoryPageShape:
    """Everything that agents keep for the tenant from one run to the next, what was written last first."""
    query = ListMemory(tenant=tenant.id, package=package, kind=kind, cursor=cursor, limit=limit)
    page = await broker.ask(query)
    return MemoryPageShape(items=[entry_shape(one) for one in page.items], next_cursor=page.next_cursor)


@delete(
    "/",
    status_code=200,
    guards=[requires("execute")],
    summary="Delete all that an agent remembers",
    operation_id="deleteMemoryOfPackage",
    responses=answers(shapes.DELETED, "not_found", "invalid_input"),
)
async def delete_memory_of_package(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], package: OfPackage
) -> MemoryDeletedShape:
    """Delete everything that a package's agent keeps for the tenant: from now on it finds none of it."""
    command = DeleteMemory(tenant=tenant.id, package=existing_package(package))
    return MemoryDeletedShape(deleted=(await broker.ask(command)).count)


@get(
    "/{entry:str}",
    guards=[requires("read")],
    summary="Read something that an agent remembers",
    operation_id="getMemory",
    responses=answers(shapes.AN_ENTRY, "not_found"),
)
async def get_memory(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], entry: MemoryId
) -> MemoryEntryShape:
    """One entry."""
    return entry_shape(await broker.ask(GetMemory(entry=existing("mem", entry), tenant=tenant.id)))


@delete(
    "/{entry:str}",
    status_code=200,
    guards=[requires("execute")],
    summary="Delete something that an agent remembers",
    operation_id="deleteMemory",
    responses=answers(shapes.DELETED, "not_found"),
)
async def delete_memory(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], entry: MemoryId
) -> MemoryDeletedShape:
    """Delete one entry: from now on the agent does not find it."""
    command = DeleteMemory(tenant=tenant.id, entry=existing("mem", entry))
    return MemoryDeletedShape(deleted=(await broker.ask(command)).count)


router = Router(
    "/memory",
    route_handlers=[list_memory, delete_memory_of_package, get_memory, delete_memory],
    tags=["Memory"],
    security=TENANT_SECURITY,
)
