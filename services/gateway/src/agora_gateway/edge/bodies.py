"""JSON bodies, read strictly: no coercion, no unknown fields, and errors that name the field."""

import re
from itertools import accumulate
from typing import Any, cast

import msgspec
from agora_contracts.problems import AgoraError, FieldError
from litestar import Request

BODY_BYTES_MAX = 512 * 1024
DEPTH_MAX = 100
"""How deep arrays and objects may lie in each other: what reads a body after us has its own, deeper limits."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{}]"))
_OPENS = ord("[")
_STEPS = bytes.maketrans(b"{}", b"[]")
_PLACE = re.compile(r"(?s)(.*?)(?: - at `(.*)`)?")
_NAMED = re.compile(r"(?:unknown|missing required) field `(.+)`$")
_VISIBLE = re.compile(r"matching regex '\^\[\\\\x21-\\\\x7e\](?:\{1,(\d+)\})?")
"""A pattern of visible ASCII characters, as msgspec shows it."""
_PATH_PART = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class ApiRequest(Request[Any, Any, Any]):
    """A request whose JSON body is decoded straight into the handler's `data` type."""

    async def json(self) -> Any:
        """The body as the type that the route declares.

        Raises:
            AgoraError: `unsupported_media_type`, `malformed_request` or `invalid_input`.
        """
        kind, _ = self.content_type
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise AgoraError(
                "unsupported_media_type",
                f"this route takes JSON, not {kind[:80]!r}; send the header 'Content-Type: application/json'",
            )
        field = cast(Any, self.route_handler).parsed_data_field
        return decode(await self.body(), field.annotation)


def decode[Body](raw: bytes, kind: type[Body]) -> Body:
    """Decode a JSON body.

    Raises:
        AgoraError: `malformed_request` when it is no JSON, `invalid_input` when it does not fit `kind`.
    """
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        field = field_error(error)
        detail = f"the body does not fit: {field.detail} (at {field.field or '/'})"
        raise AgoraError("invalid_input", detail, errors=[field]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AgoraError(
            "malformed_request", f"the body is not valid JSON: {_unreadable(raw, error)}"
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    if depth(raw) > DEPTH_MAX:
        raise _too_deep()
    return body


def _unreadable(raw: bytes, error: Exception) -> str:
    """Why a body is no JSON, where the decoder's own words mislead."""
    try:
        raw.decode()
    except UnicodeDecodeError as undecodable:
        return f"the byte at position {undecodable.start} is not UTF-8"
    if _HALF_PAIR.search(raw):
        return "it holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no character"
    return str(error)


def depth(raw: bytes) -> int:
    """How deep arrays and objects lie in each other in valid JSON; or their number, if that is small."""
    opening = raw.count(b"[") + raw.count(b"{")
    if opening <= DEPTH_MAX:
        return opening
    brackets = _STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(1 if step == _OPENS else -1 for step in brackets), default=0)


def _too_deep() -> AgoraError:
    return AgoraError(
        "malformed_request", f"the body is nested deeper than {DEPTH_MAX} levels; make it flatter"
    )


def field_error(error: msgspec.ValidationError) -> FieldError:
    """msgspec's message (`Expected ... - at `$.a[0]``) as a field in JSON pointer form and what is wrong."""
    found = _PLACE.fullmatch(str(error))
    assert found is not None, "the pattern matches anything"
    detail, path = found.group(1), found.group(2) or ""
    if visible := _VISIBLE.search(detail):
        most = visible.group(1)
        detail = "must be printable ASCII without blanks" + (f", 1 to {most} characters" if most else "")
    parts = [first or second for first, second in _PATH_PART.findall(path)]
    if named := _NAMED.search(detail):
        parts.append(named.group(1))
    return FieldError(field="".join(f"/{part}" for part in parts), detail=detail)
