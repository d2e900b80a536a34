"""Temporal for execution: the connection, the data converter, and how a process leaves it.

Payloads are JSON by msgspec: Structs and Decimals keep their types where the signature names them.
"""

import asyncio
from typing import Any

import msgspec
from agora_contracts.search_attributes import SEARCH_ATTRIBUTES
from agora_kit import telemetry
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
)

SETTLE_SECONDS = 0.5
"""A process that used Temporal must live this long after its worker closed: a thread of the SDK may still
drop Python objects, and would crash an interpreter that is finalising."""

_encoder = msgspec.json.Encoder(decimal_format="string")


class MsgspecJson(EncodingPayloadConverter):
    """`json/plain` payloads written and read by msgspec."""

    @property
    def encoding(self) -> str:
        """The encoding's name in the payload's metadata."""
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        """Encode any value that msgspec can."""
        return Payload(metadata={"encoding": b"json/plain"}, data=_encoder.encode(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Decode, as the type that the signature names if it names one."""
        if type_hint is None:
            return msgspec.json.decode(payload.data)
        return msgspec.json.decode(payload.data, type=type_hint, strict=False)


class MsgspecPayloadConverter(CompositePayloadConverter):
    """Temporal's default converters with msgspec's JSON in place of the standard library's."""

    def __init__(self) -> None:
        super().__init__(
            *(
                MsgspecJson() if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


data_converter = DataConverter(payload_converter_class=MsgspecPayloadConverter)


async def connect(address: str, namespace: str, *, lazy: bool = True) -> Client:
    """A client of Temporal. A lazy one connects at its first call, so a server may be away now.

    Raises:
        RuntimeError: not lazy, and the server does not answer.
    """
    interceptors: list[Any] = []
    if telemetry.tracing_enabled():
        from temporalio.contrib.opentelemetry import TracingInterceptor

        interceptors.append(TracingInterceptor())
    return await Client.connect(
        address, namespace=namespace, data_converter=data_converter, interceptors=interceptors, lazy=lazy
    )


async def check(client: Client) -> None:
    """Raise when Temporal does not answer."""
    await client.service_client.check_health()


async def register_search_attributes(client: Client) -> list[str]:
    """Tell a server what our workflows are found by. Those that it knows are left as they are.

    Returns:
        The names that were new to it.

    Raises:
        RPCError: it does not answer, does not let us, or has an attribute of this name with another type.
    """
    where = ListSearchAttributesRequest(namespace=client.namespace)
    known = (await client.operator_service.list_search_attributes(where)).custom_attributes
    new = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in known}
    if new:
        types = {name: IndexedValueType.Value(_indexed(kind)) for name, kind in new.items()}
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
        )
    return sorted(new)


def _indexed(kind: str) -> str:
    return f"INDEXED_VALUE_TYPE_{kind.upper()}"


async def settle() -> None:
    """Wait until the SDK's threads have let go; the last thing a process does before it ends."""
    await asyncio.sleep(SETTLE_SECONDS)
