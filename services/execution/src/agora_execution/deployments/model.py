"""What a deployment is and may become. Pure rules."""

from dataclasses import dataclass, field
from typing import Any

from agora_contracts.problems import AgoraError

from agora_execution.packages.model import PackageVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a tenant names to run on: a deployment, or a package in a version or the newest."""

    tenant: str
    package: str | None = None
    version: str | None = None
    deployment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a run runs on: a package version with its price, and a configuration that is prepared."""

    package: PackageVersion
    basis: str
    price_version: str
    config: dict[str, Any] = field(default_factory=dict)
    artifact: str | None = None


def require_usable(deployment: str, status: str, error: str | None) -> None:
    """Raises: AgoraError `not_executable`, saying why, when no run may start on this deployment."""
    match status:
        case "active":
            return
        case "pending":
            raise AgoraError(
                "not_executable",
                f"{deployment} is being prepared; try again in a moment",
                retry_after_seconds=2,
            )
        case "failed":
            raise AgoraError(
                "not_executable", f"{deployment} could not be prepared: {error}; change its configuration"
            )
        case _:
            raise AgoraError("not_executable", f"{deployment} has ended; start another deployment")
