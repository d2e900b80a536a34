"""The bytes of an upload as a stream: a raw body, or the field `file` of a multipart form."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from agora_contracts.problems import AgoraError
from litestar import Request
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
)

from agora_gateway.files import model

FIELD = "file"
OVERHEAD_MAX = 64 * 1024
"""What a form may add to the file itself: boundaries and headers of parts."""


class Upload(msgspec.Struct, kw_only=True):
    """A file on its way in."""

    name: str
    content_type: str
    chunks: AsyncIterator[bytes]


async def open_upload(request: Request[Any, Any, Any], name: str | None) -> Upload:
    """Find the file in a request and check its name, before any of its bytes are kept.

    Raises:
        AgoraError: `malformed_request`, or `invalid_input` for the name.
    """
    kind, options = request.content_type
    if kind != RequestEncodingType.MULTI_PART:
        if name is None:
            raise AgoraError(
                "malformed_request",
                "send the file as the field 'file' of multipart/form-data, or its bytes as the body with ?name=",
            )
        return Upload(name=model.check_name(name), content_type=model.media_type(kind), chunks=_raw(request))
    events = _events(request, options.get("boundary", ""))
    segment = await _find_file(events)
    return Upload(
        name=model.check_name(name if name is not None else segment.filename or ""),
        content_type=model.media_type(segment.content_type),
        chunks=_contents(events),
    )


async def _raw(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except HTTPException as error:
        raise _cut_off(error) from error


async def _events(
    request: Request[Any, Any, Any], boundary: str
) -> AsyncIterator[MultipartSegment | bytes | bytearray | None]:
    """What the parser finds in the body: a part begins, its bytes, it ends (None)."""
    if not boundary:
        raise AgoraError("malformed_request", "the Content-Type of a form must name its boundary")
    try:
        with PushMultipartParser(boundary) as parser:
            async for chunk in _raw(request):
                if parser.closed:
                    continue
                for event in parser.parse(chunk):
                    yield event
    except MultipartError as error:
        raise AgoraError("malformed_request", f"the multipart form cannot be read: {error}") from error


async def _find_file(events: AsyncIterator[Any]) -> MultipartSegment:
    async for event in events:
        if isinstance(event, MultipartSegment) and event.name == FIELD:
            if event.filename is None:
                raise AgoraError("malformed_request", "the form's field 'file' must be a file with a name")
            return event
    raise AgoraError("malformed_request", "the form has no field 'file'")


async def _contents(events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The bytes of the part that has just begun; what comes after it is read and dropped."""
    inside = True
    async for event in events:
        if event is None:
            inside = False
        elif inside and isinstance(event, bytes | bytearray):
            yield bytes(event)


def _cut_off(error: HTTPException) -> AgoraError:
    if error.status_code == 413:
        return AgoraError("payload_too_large", f"a file may have at most {model.SIZE_MAX} bytes")
    return AgoraError("malformed_request", "the upload was cut off")
