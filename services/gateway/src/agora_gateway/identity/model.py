"""The rules of tenants and API keys. A key is shown once; what is kept is its hash and its prefix."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError, FieldError

_KEY = re.compile(r"ak_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


EXPIRY_MAX = datetime(9998, 12, 31, tzinfo=UTC)
"""Later, a time may leave the calendar when it is told in another time zone."""


class TenantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A customer. `settings` has its limits; empty means the defaults."""

    id: str
    name: str
    account: str
    created_at: datetime
    settings: dict[str, int] = {}


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept: never the key itself. Times are UTC."""

    id: str
    tenant: str
    account: str
    name: str
    prefix: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


def account_of(tenant: str) -> str:
    """The id of a tenant's billing account."""
    return derived("acc", tenant)


def compose_key(public: str, secret: str) -> str:
    """The key as the customer sends it: 8 hex characters in the open, 43 URL-safe random ones."""
    key = f"ak_{public}_{secret}"
    if not _KEY.fullmatch(key):
        raise ValueError("a key is made of 8 hex and 43 URL-safe characters")
    return key


def prefix_of(key: str) -> str:
    """The part of a key that may be shown: `ak_1a2b3c4d`."""
    return key[:11]


def looks_like_key(text: str) -> bool:
    """Whether it is worth looking this up at all."""
    return len(text) == 55 and _KEY.fullmatch(text) is not None


def hash_key(key: str) -> bytes:
    """What is kept of a key. Plain SHA-256 does: a key has 256 random bits, nothing can be guessed."""
    return hashlib.sha256(key.encode()).digest()


def check_usable(key: ApiKey, now: datetime) -> None:
    """Raise unless the key works at `now`.

    Raises:
        AgoraError: `key_revoked` or `key_expired`.
    """
    if key.revoked_at is not None:
        raise AgoraError("key_revoked", f"the API key {key.prefix} was revoked; use another one")
    if key.expires_at is not None and key.expires_at <= now:
        detail = f"the API key {key.prefix} expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}; use another one"
        raise AgoraError("key_expired", detail)


def check_new_key(scopes: Iterable[str], expires_at: datetime | None, now: datetime) -> None:
    """Raise unless a key with these properties may be made.

    Raises:
        AgoraError: `invalid_input`.
    """
    if not frozenset(scopes):
        raise _invalid("/scopes", "a key needs at least one scope; leave the field out for all of them")
    if expires_at is not None and expires_at <= now:
        raise _invalid("/expires_at", "must lie in the future")
    if expires_at is not None and expires_at > EXPIRY_MAX:
        raise _invalid(
            "/expires_at", "must lie before the end of the year 9998; leave it out for a key without an end"
        )


def check_grant(own: frozenset[str], asked: frozenset[str]) -> None:
    """Raise unless a key with the scopes `own` may make one with `asked`: no key grants what it lacks.

    Raises:
        AgoraError: `forbidden`.
    """
    if extra := sorted(asked - own):
        raise AgoraError(
            "forbidden", f"this key lacks the scopes {', '.join(extra)}, so it cannot grant them"
        )


def _invalid(field: str, detail: str) -> AgoraError:
    return AgoraError(
        "invalid_input", "the key cannot be made", errors=[FieldError(field=field, detail=detail)]
    )
