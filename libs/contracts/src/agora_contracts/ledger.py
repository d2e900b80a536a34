"""An account's ledger for anybody who wants to recompute it: postings, entries and the hashes that seal them.

The canonical form of a posting is its JSON with keys in alphabetical order, no spaces, and characters beyond ASCII
as they are, in UTF-8. Each hash is SHA-256 over the previous hash (32 bytes) and the canonical form of the posting;
before an account's first posting stands SHA-256 of `agora ledger 1` and the account's id, with a line break between.
"""

from typing import Annotated

import msgspec
from msgspec import Meta


class LedgerPosting(msgspec.Struct, frozen=True, kw_only=True):
    """One posting as it is hashed. Amounts are micro-units; `at` is UTC with six places after the second.

    `entries` are the signed amounts by ledger and add up to zero; `credit_after` and `promotional_after` are the
    account's credit after this posting.
    """

    account: str
    at: str
    author: str | None
    cause: str
    credit_after: int
    currency: str
    description: str
    entries: dict[str, int]
    id: str
    kind: str
    number: int
    promotional_after: int
    run: str | None
    tenant: str


class LedgerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A posting and its seal: the hash in hexadecimal, none while it is not sealed yet (some seconds)."""

    posting: LedgerPosting
    hash: str | None = None


class ReadLedger(msgspec.Struct, frozen=True, kw_only=True):
    """Read an account's postings with their entries and hashes, oldest first."""

    account: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of an account's ledger."""

    items: list[LedgerRecord]
    next_cursor: str | None = None
