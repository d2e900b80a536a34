"""Rentals as the public API shows them."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from agora_contracts.deployments import Deployment, DeploymentStatus
from agora_contracts.runs import RunError
from msgspec import Meta

from agora_gateway.edge.shapes import MoneyBody


class DeploymentBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to hire: a package, the basis of its price, and its config, to the package's config schema."""

    package: str
    basis: str
    version: str | None = None
    name: Annotated[str, Meta(max_length=120)] = ""
    config: dict[str, Any] = {}


class ConfigBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The config that takes the old one's place."""

    config: dict[str, Any]


class DeploymentEstimateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of the run to be estimated, to the package's input schema."""

    input: dict[str, Any]


class DeploymentRunBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run's input, to the package's input schema.

    `max_cost` is the run's own hard budget: it is refused when it is quoted at more, and never charged more.
    """

    input: dict[str, Any]
    max_cost: MoneyBody | None = None


class DeploymentShape(msgspec.Struct, frozen=True, kw_only=True):
    """A rental: `pending` while its config is prepared, `failed` with the reason in `error`."""

    id: str
    name: str
    status: DeploymentStatus
    package: str
    version: str
    basis: str
    price_version: str
    config: dict[str, Any]
    config_revision: int
    started_at: datetime
    ended_at: datetime | None
    error: RunError | None


class DeploymentPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of rentals, newest first."""

    items: list[DeploymentShape]
    next_cursor: str | None = None


def deployment_shape(deployment: Deployment) -> DeploymentShape:
    """A rental for its tenant."""
    fields = msgspec.structs.asdict(deployment)
    del fields["tenant"]
    return DeploymentShape(**fields)


# --- examples of the documentation ---------------------------------------------------------------

A_BODY = DeploymentBody(package="echo", basis="task", name="our echo", config={})
A_CONFIG = ConfigBody(config={"greeting": "hi"})
AN_ESTIMATE_BODY = DeploymentEstimateBody(input={"text": "hello"})
A_RUN_BODY = DeploymentRunBody(input={"text": "hello"}, max_cost=MoneyBody(amount="1.00"))
A_DEPLOYMENT = DeploymentShape(
    id="dep_0190a5b07c3a7d4e8f00112233445566",
    name="our echo",
    status="active",
    package="echo",
    version="1.0.0",
    basis="task",
    price_version="price_0190a5b07c3a7d4e8f00112233445566",
    config={},
    config_revision=1,
    started_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
    ended_at=None,
    error=None,
)
AN_ENDED = msgspec.structs.replace(
    A_DEPLOYMENT, status="terminated", ended_at=datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
)
A_PAGE = DeploymentPageShape(items=[A_DEPLOYMENT])
