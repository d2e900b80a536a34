"""How postings are chained. Each hash covers the one before it and the posting with its entries, so that whoever
changes, removes or inserts a posting has to change every later hash, also those that the customer has kept.

hash(0) = SHA-256("agora ledger 1" LF account)
hash(n) = SHA-256(hash(n - 1) canonical(posting n))
"""

import hashlib
import json
from datetime import UTC, datetime

import msgspec
from agora_contracts.ledger import LedgerPosting

_DOMAIN = "agora ledger 1\n"


def canonical(posting: LedgerPosting) -> bytes:
    """The one way of writing a posting down that is hashed: see `agora_contracts.ledger`."""
    # The standard library's encoder and not msgspec's: anybody must be able to write the same bytes.
    plain = msgspec.structs.asdict(posting)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def written(at: datetime) -> str:
    """A moment as it is hashed: UTC with six places after the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def first_hash(account: str) -> bytes:
    """What stands before an account's first posting."""
    return hashlib.sha256((_DOMAIN + account).encode()).digest()


def next_hash(previous: bytes, posting: LedgerPosting) -> bytes:
    """The hash that seals a posting after the one that `previous` seals."""
    return hashlib.sha256(previous + canonical(posting)).digest()
