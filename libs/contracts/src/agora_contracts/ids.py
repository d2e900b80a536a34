"""Ids: a prefix and a UUID in hex, made by whoever asks. Deterministic where a retry must repeat one."""

import hashlib
import re
import uuid

_NAMESPACE = uuid.UUID("6d1f8f5e-52a5-5f5b-9e83-2f0f1f1d6c2a").bytes
_ID = re.compile(r"[a-z]{2,5}_[0-9a-f]{32}")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

PREFIXES = {
    "run",
    "dep",
    "acc",
    "evt",
    "file",
    "ten",
    "key",
    "price",
    "post",
    "ref",
    "exp",
    "bud",
    "promo",
    "per",
    "apr",
    "conv",
    "msg",
    "mem",
    "sch",
    "fire",
}
"""Run, deployment, account, event, file, tenant, API key, price version, ledger posting, refused
usage, export, budget, promotional grant, period of usage, approval, conversation, message, entry of
memory, schedule, fire of a schedule."""


def derived(prefix: str, *parts: str) -> str:
    """The same id for the same parts, always: `derived("run", tenant, idempotency_key)`."""
    # A UUID of version 5 as `uuid.uuid5` makes it, at half the cost: money's hot paths make several for each run.
    name = "\x1f".join((prefix, *parts)).encode()
    digest = bytearray(hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return f"{prefix}_{digest.hex()}"


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` has the form of an id with this prefix."""
    return text.startswith(prefix + "_") and _ID.fullmatch(text) is not None


def is_slug(text: str) -> bool:
    """Whether `text` is a package's slug: lower-case words and digits joined by hyphens, at most 64 long."""
    return len(text) <= 64 and _SLUG.fullmatch(text) is not None
