"""What an audit of the books finds. Amounts are micro-units, added over all accounts."""

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One place where two accounts of the same thing differ."""

    rule: str
    subject: str
    expected: int
    found: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The books in figures, and where they are wrong. `ok` when no rule is broken.

    `charged` is what all runs owe as of their newest revision; it equals `revenue`. `cash` is what came in
    by top-ups.
    """

    ok: bool
    accounts: int
    postings: int
    charges: int
    settled_runs: int
    open_holds: int
    credit: int
    held: int
    receivable: int
    charged: int
    cash: int
    revenue: int
    platform_cost: int
    faults: list[Fault]
