"""Messages of deployments: packages hired with their config, version and price."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora_contracts.runs import RunError

DeploymentStatus = Literal["pending", "active", "failed", "terminated"]


class StartDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """Hire a package: pins its version, price and basis, and prepares its config. Once per id."""

    deployment_id: str
    tenant: str
    account: str
    fingerprint: str
    package: str
    basis: str
    name: Annotated[str, Meta(max_length=120)] = ""
    version: str | None = None
    config: dict[str, Any] = {}
    requested_by: str = ""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A rental. `pending` while its config is prepared; `failed` says why in `error`."""

    id: str
    tenant: str
    name: str
    status: DeploymentStatus
    package: str
    version: str
    basis: str
    price_version: str
    config: dict[str, Any]
    config_revision: int
    started_at: datetime
    ended_at: datetime | None = None
    error: RunError | None = None


class GetDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """Read one deployment."""

    deployment: str
    tenant: str


class ListDeployments(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's deployments, newest first."""

    tenant: str
    status: DeploymentStatus | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class DeploymentPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deployments."""

    items: list[Deployment]
    next_cursor: str | None = None


class ChangeDeploymentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Replace a deployment's config. It takes effect once prepared; until then runs use the old one."""

    deployment: str
    tenant: str
    config: dict[str, Any]


class EndDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """End a rental; running runs finish, new ones are refused. Ending it again changes nothing."""

    deployment: str
    tenant: str


class DeploymentStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A rental has begun."""

    deployment: str
    account: str
    package: str
    version: str
    price_version: str
    basis: str
    at: datetime


class DeploymentEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A rental has ended."""

    deployment: str
    account: str
    at: datetime
