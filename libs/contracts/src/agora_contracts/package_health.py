"""Messages of the health of packages."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec


class CheckPackageHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Exercise a package's tools and schemas; the answer is cached for half a minute."""

    package: str
    version: str | None = None


class PackageHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a package can work now. `success_rate` is over its last 100 ended runs, all tenants."""

    package: str
    version: str
    status: Literal["healthy", "degraded", "unhealthy"]
    schema_ok: bool
    tools: dict[str, bool]
    model_reachable: bool
    last_success_at: datetime | None = None
    success_rate: Decimal | None = None
