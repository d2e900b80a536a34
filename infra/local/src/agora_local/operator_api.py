"""Requests to the operator's API of a platform that has only just started."""

import httpx
import stamina

_PATIENCE_SECONDS = 60.0
_FOR_NOW = frozenset({httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT})


class _AwayForNow(Exception):
    """An answer that asks for another try."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.status_code}")
        self.response = response


def post_patiently(client: httpx.Client, path: str, content: bytes) -> httpx.Response:
    """POST a JSON body, and again for up to a minute while a part of the platform does not answer (503, 504).

    For what may be asked twice. Returns the last answer, whatever it is.

    Raises:
        httpx.HTTPError: the gateway itself does not answer.
    """
    try:
        for attempt in stamina.retry_context(
            on=_AwayForNow, attempts=None, timeout=_PATIENCE_SECONDS, wait_initial=0.5, wait_max=5.0
        ):
            with attempt:
                response = client.post(path, content=content, headers={"Content-Type": "application/json"})
                if response.status_code in _FOR_NOW:
                    raise _AwayForNow(response)
    except _AwayForNow as away:
        return away.response
    return response
