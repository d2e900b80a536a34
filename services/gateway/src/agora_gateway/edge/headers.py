"""Request headers with a meaning: Idempotency-Key, Prefer; and the fingerprint of a request."""

import hashlib
import re

import msgspec
import uuid_utils
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError, FieldError

WAIT_SECONDS_MAX = 60
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


def requested_id(prefix: str, tenant: str, idempotency_key: str | None) -> str:
    """The id of what is to be made: the same for the same key of a tenant, else a fresh one.

    Raises:
        AgoraError: `invalid_input`, the key is empty, too long or has blanks.
    """
    if idempotency_key is None:
        return f"{prefix}_{uuid_utils.uuid7().hex}"
    if not _KEY.fullmatch(idempotency_key):
        detail = "must be 1 to 200 printable ASCII characters without blanks"
        raise AgoraError(
            "invalid_input",
            f"Idempotency-Key {detail}",
            errors=[FieldError(field="Idempotency-Key", detail=detail)],
        )
    return derived(prefix, tenant, idempotency_key)


def fingerprint(route: str, target: str, body: object) -> str:
    """What tells a repeated request from another one under the same key: SHA-256 in hex."""
    canonical = msgspec.json.encode([route, target, body], order="deterministic")
    return hashlib.sha256(canonical).hexdigest()


def wait_seconds(prefer: str | None) -> int:
    """The seconds of `Prefer: wait=N`, at most 60; 0 without it. The unreadable is ignored (RFC 7240)."""
    found = _WAIT.search(prefer or "")
    return min(int(found.group(1)), WAIT_SECONDS_MAX) if found else 0
