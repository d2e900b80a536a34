"""Every error as a problem document (RFC 9457); nothing of our inside leaks."""

import re
from typing import Any

import msgspec
import structlog
from agora_contracts.problems import AgoraError, FieldError, Problem
from agora_kit.database import UNSTORABLE, is_transient, is_unstorable
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_WAIT_SECONDS = 2

_BY_STATUS: dict[int, tuple[str, str]] = {
    400: ("malformed_request", "the request could not be read; check its body, headers and encoding"),
    401: ("unauthenticated", "send an API key as 'Authorization: Bearer ak_...' or 'X-API-Key: ak_...'"),
    403: ("forbidden", "the key may not do this"),
    404: ("not_found", "there is no such route; GET /api/v1/openapi.json lists them"),
    405: (
        "method_not_allowed",
        "this route does not take that method; the header Allow lists those it takes",
    ),
    413: ("payload_too_large", "the body is larger than this route takes; send large data as a file"),
    415: ("unsupported_media_type", "send JSON, with the header 'Content-Type: application/json'"),
    429: ("too_many_requests", "too many requests; wait as long as Retry-After says"),
}
"""What Litestar itself refuses, in our words."""


def encode(problem: Problem) -> bytes:
    """The problem document in bytes."""
    return msgspec.json.encode(problem)


def headers_of(problem: Problem) -> dict[str, str]:
    """The headers that go with a problem."""
    headers = {}
    if problem.retry_after_seconds is not None:
        headers["retry-after"] = str(problem.retry_after_seconds)
    if problem.status == 401:
        headers["www-authenticate"] = 'Bearer realm="agora"'
    return headers


def to_problem(error: Exception, request_line: str) -> Problem:
    """Turn whatever was raised into a problem; what we did not foresee is logged and says nothing."""
    if isinstance(error, AgoraError):
        return error.problem
    if isinstance(error, HTTPException) and error.status_code in _BY_STATUS:
        slug, detail = _BY_STATUS[error.status_code]
        return AgoraError(slug, detail).problem
    if is_transient(error):
        log.warning("request failed for now", request=request_line, error=repr(error))
        detail = "a part of the platform does not answer; try again shortly"
        return AgoraError("unavailable", detail, retry_after_seconds=_WAIT_SECONDS).problem
    if is_unstorable(error):
        return AgoraError("invalid_input", UNSTORABLE).problem
    log.error("request failed", request=request_line, exc_info=error)
    return AgoraError("internal", "something went wrong on our side; it has been logged").problem


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's handler for every exception."""
    if isinstance(error, ValidationException):
        error = _parameter_problem(error, request)
    problem = to_problem(error, f"{request.method} {request.url.path}")
    headers = headers_of(problem)
    if problem.status == 405 and isinstance(error, HTTPException):
        headers |= {name.lower(): value for name, value in (error.headers or {}).items()}
    return Response(encode(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


async def send_problem(send: Any, problem: Problem) -> None:
    """Answer an ASGI request with a problem, outside Litestar."""
    body = encode(problem)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body))} | headers_of(problem)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _parameter_problem(error: ValidationException, request: Request[Any, Any, Any]) -> AgoraError:
    """What Litestar found wrong with the arguments of a handler, in the names that the caller used."""
    found = []
    for item in error.extra if isinstance(error.extra, list) else []:
        name = str(item.get("key", "")) if isinstance(item, dict) else ""
        if name == "data":
            # Litestar's word for a body that is not there; one that does not fit is refused in bodies.py.
            return AgoraError("malformed_request", "the body is empty; this route needs a JSON object")
        message = str(item.get("message", "")) if isinstance(item, dict) else str(item)
        found.append(FieldError(field=_public_name(name, request), detail=message[:500]))
    if not found:
        found = [FieldError(field=_missing_name(error), detail="is required")]
    told = "; ".join(f"{field.field}: {field.detail}" for field in found)
    return AgoraError("invalid_input", f"the parameters do not fit: {told}", errors=found)


def _public_name(name: str, request: Request[Any, Any, Any]) -> str:
    """A parameter's name in the query or among the headers, from its name in our code."""
    parameter = request.route_handler.parsed_fn_signature.parameters.get(name)
    definition = parameter.kwarg_definition if parameter is not None else None
    return getattr(definition, "name", None) or name


def _missing_name(error: ValidationException) -> str:
    found = re.search(r"parameter '?([\w-]+)'?", error.detail)
    return found.group(1) if found else ""
