"""One request to the platform: authentication, trying again where that is safe, problems as errors."""

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import stamina
from agora_contracts.problems import Problem

from agora.client.errors import ApiError, ConnectionFailed

ATTEMPTS_MAX = 5
RETRY_SECONDS_MAX = 45.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
RETRY_AFTER_SECONDS_MAX = 30.0

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def new_key() -> str:
    """A key that makes a request happen once, however often it is sent."""
    return uuid.uuid4().hex


class _Busy(Exception):
    """An answer that asks to be tried again."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class Transport:
    """Sends requests; a request marked idempotent is sent again when the connection or the platform fails."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def call[Result](
        self,
        wanted: type[Result],
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        idempotent: bool = True,
        read_seconds: float = 30.0,
    ) -> Result:
        """Send a JSON request and read the answer as `wanted`.

        Raises:
            ApiError: the platform answered with a problem.
            ConnectionFailed: it did not answer.
        """
        sent = {**(headers or {})}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            sent["Content-Type"] = content_type
        request = self.http.build_request(
            method,
            path,
            content=content,
            params={name: value for name, value in (query or {}).items() if value is not None},
            headers=sent,
            timeout=httpx.Timeout(10.0, read=read_seconds),
        )
        response = await self._send(request, idempotent)
        return read(response, wanted)

    async def _send(self, request: httpx.Request, idempotent: bool) -> httpx.Response:
        attempts = ATTEMPTS_MAX if idempotent else 1
        try:
            async for attempt in stamina.retry_context(
                on=_wait_before_retry, attempts=attempts, timeout=RETRY_SECONDS_MAX
            ):
                with attempt:
                    response = await self.http.send(request)
                    if response.status_code in RETRIED_STATUSES and attempt.num < attempts:
                        raise _Busy(response)
                    return response
        except _Busy as busy:
            return busy.response
        except httpx.HTTPError as error:
            raise unreachable(self.http, error) from error
        raise AssertionError("retry_context always returns or raises")


def segment(name: str) -> str:
    """A name as one segment of a path: whatever it holds, it reaches no other route."""
    return quote(name, safe="") if name.strip(".") else quote(name, safe="").replace(".", "%2E")


def read[Result](response: httpx.Response, wanted: type[Result]) -> Result:
    """The body of an answer whose content is read already; nothing where `wanted` is None's type.

    Raises:
        ApiError: it is a problem, or nothing that this client understands.
    """
    if response.is_success:
        if wanted is type(None):
            return None
        try:
            return decoded(response.content, wanted)
        except msgspec.DecodeError as error:
            detail = f"{response.request.method} {response.request.url} answered something else: {error}"
            raise ApiError(_unknown(response, "The answer is not understood", detail)) from error
    raise problem_of(response)


def decoded[Result](content: bytes | str, wanted: type[Result]) -> Result:
    """JSON as a type.

    Raises:
        msgspec.DecodeError: it is none, or does not fit.
    """
    decoder = _decoders.get(wanted)
    if decoder is None:
        decoder = _decoders[wanted] = msgspec.json.Decoder(wanted)
    result: Result = decoder.decode(content)
    return result


def problem_of(response: httpx.Response) -> ApiError:
    """The problem in an answer that is not a success; one is made up where a proxy answered instead."""
    try:
        return ApiError(decoded(response.content, Problem))
    except msgspec.DecodeError:
        text = response.text.strip()[:200] or "The answer was empty."
        return ApiError(_unknown(response, response.reason_phrase or "Error", text))


def unreachable(http: httpx.AsyncClient, error: Exception) -> ConnectionFailed:
    """The error for an address that does not answer."""
    reason = str(error) or type(error).__name__
    return ConnectionFailed(
        f"{http.base_url} does not answer: {reason}. Is the platform up, and the address right?"
    )


def _unknown(response: httpx.Response, title: str, detail: str) -> Problem:
    return Problem(type="about:blank", title=title, status=response.status_code, detail=detail)


def _wait_before_retry(error: Exception) -> bool | float:
    """Whether to try again, or after how many seconds where the platform said so."""
    if isinstance(error, _Busy):
        after = error.response.headers.get("retry-after", "")
        return min(float(after), RETRY_AFTER_SECONDS_MAX) if after.isdecimal() else True
    # An address or a key that cannot be sent will not be better the next time.
    hopeless = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return isinstance(error, httpx.TransportError) and not hopeless
