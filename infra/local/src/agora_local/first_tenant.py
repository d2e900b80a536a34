"""A tenant with credit and a key, made at the first start so that there is something to try with."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from agora_local.operator_api import post_patiently
from agora_local.parts.postgres import write_private
from agora_local.settings import PlatformFailed

NAME = "demo"
CREDIT_USD = "100.000000"
SCOPES: tuple[str, ...] = ("read", "execute", "files", "account", "keys", "usage", "approve")


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTenant:
    """What was made so far: kept after each step, so that a start that dies in between goes on there.

    `shown` tells whether somebody was shown the key: what the demo starts shows none.
    """

    tenant_id: str
    key: str | None = None
    credited: bool = False
    shown: bool = False


def read_first_tenant(folder: Path) -> FirstTenant | None:
    """The tenant made at the first start, or None."""
    path = folder / "first-tenant.json"
    return FirstTenant(**json.loads(path.read_text())) if path.exists() else None


def mark_shown(folder: Path, tenant: FirstTenant) -> None:
    """Remember that the key was shown, so that it is not shown again."""
    write_private(folder / "first-tenant.json", json.dumps(asdict(replace(tenant, shown=True))))


def ensure_first_tenant(folder: Path, api_url: str, operator_token: str) -> FirstTenant:
    """Make the tenant, its key and its credit where they are missing.

    Raises:
        PlatformFailed: the gateway refused; says what it answered.
    """
    path = folder / "first-tenant.json"
    tenant = read_first_tenant(folder)
    if tenant is not None and tenant.key is not None and tenant.credited:
        return tenant
    headers = {"Authorization": f"Bearer {operator_token}"}
    # A proxy in the environment is not for a server of this machine.
    with httpx.Client(base_url=api_url, headers=headers, timeout=30, trust_env=False) as client:
        if tenant is None:
            tenant = FirstTenant(tenant_id=_post(client, "/tenants", {"name": NAME})["id"])
            write_private(path, json.dumps(asdict(tenant)))
        base = f"/tenants/{tenant.tenant_id}"
        if not tenant.credited:
            # Before the key: whoever has the key has the credit. The reference makes a repetition harmless.
            credit = {"amount": {"amount": CREDIT_USD, "currency": "USD"}, "reference": "first-start"}
            _post(client, f"{base}/top-ups", credit)
            tenant = replace(tenant, credited=True)
            write_private(path, json.dumps(asdict(tenant)))
        if tenant.key is None:
            tenant = replace(
                tenant, key=_post(client, f"{base}/keys", {"name": NAME, "scopes": list(SCOPES)})["key"]
            )
            write_private(path, json.dumps(asdict(tenant)))
    return tenant


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        # Asked twice at worst, a tenant or a key that nobody was told of is left over: it can do nothing.
        response = post_patiently(client, f"/api/v1/operator{path}", json.dumps(body).encode())
    except httpx.HTTPError as error:
        raise PlatformFailed(f"POST /api/v1/operator{path}: the gateway does not answer: {error}") from error
    if not response.is_success:
        raise PlatformFailed(f"POST /api/v1/operator{path}: {response.status_code} {response.text[:500]}")
    answer: dict[str, Any] = response.json() if response.content else {}
    return answer
