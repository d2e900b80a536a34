"""The servers that Agora stands on, each started from a binary on this machine."""

from agora_local.parts.base import Part, PartFailed
from agora_local.parts.nats import SERVICE_USERS, Nats
from agora_local.parts.postgres import Postgres
from agora_local.parts.temporal import Temporal

__all__ = ["SERVICE_USERS", "Nats", "Part", "PartFailed", "Postgres", "Temporal"]
