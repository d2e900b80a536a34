"""HTTP clients of a test: they share what it takes 20 ms to load, the certificates that no test needs."""

from typing import Any

import httpx

_TLS = httpx.create_ssl_context()


def http_client(url: str, token: str | None = None, **options: Any) -> httpx.AsyncClient:
    """A client of what answers at `url`, with a token if there is one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=url, headers=headers, verify=_TLS, **({"timeout": 30} | options))
