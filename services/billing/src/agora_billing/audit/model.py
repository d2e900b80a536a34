"""What an audit of the books finds. Amounts are micro-units, added over all accounts that were looked at."""

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One place where two accounts of the same thing differ."""

    rule: str
    subject: str
    expected: int
    found: int
    detail: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The books in figures, and where they are wrong. `ok` when no rule is broken.

    `charged` is what all runs owe as of their newest revision, before `refunds`. `cash` is what came in by
    top-ups. `rated_again` counts the charges, all revisions, that were rated again. `sealed` counts the postings whose hash is right, `unsealed` those that the next sweep seals.
    `first_tampered` names the first posting, by account and number, that its chain of hashes disowns.
    """

    ok: bool
    accounts: int
    postings: int
    charges: int
    settled_runs: int
    open_holds: int
    credit: int
    promotional: int
    held: int
    receivable: int
    charged: int
    cash: int
    revenue: int
    author_earnings: int
    platform_fee: int
    model_cost: int
    refunds: int
    rounding: int
    promotion_cost: int
    platform_cost: int
    rated_again: int
    sealed: int
    unsealed: int
    first_tampered: str | None
    faults: list[Fault]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an audit has come: what it does now, and how much of it is done of how much."""

    step: str
    done: int
    total: int
