"""A deployment as billing knows it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """A deployment: who pays for it, and the price version and basis that it was hired under."""

    deployment: str
    tenant: str
    account: str
    package: str
    version: str
    price_version: str
    basis: str
    started_at: datetime
    ended_at: datetime | None = None
