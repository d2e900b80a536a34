"""Recompute an account's ledger from a file, with nothing but Python's standard library.

The file is what `agora ledger FILE` saves (or any copy of `GET /api/v1/account/ledger`): a posting and its hash on
each line, as JSON, the oldest first. This module needs no other; it also runs alone: `python ledger_check.py FILE`.

Checked is that the postings are numbered without gaps, that each posting's entries add up to zero, that the credit
it shows is the sum of the entries until then, and that each hash is SHA-256 over the hash before it and the posting.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ENTRY_SUMS = {"credit_after": "customer_credit", "promotional_after": "promotional_credit"}
_PROBLEMS_MAX = 20


class NotALedger(ValueError):
    """The file cannot be read as a ledger; the message names the line."""


@dataclass(slots=True, kw_only=True)
class LedgerCheck:
    """What a ledger says when it is recomputed. Amounts are micro-units (1,000,000 is one unit of `currency`).

    `ledgers` are the sums of all entries, `sealed` counts the postings whose hash is right, `unsealed` those at
    the end that have none yet, `head` is the last hash. `problems` is empty when everything agrees.
    """

    account: str = ""
    currency: str = ""
    postings: int = 0
    sealed: int = 0
    unsealed: int = 0
    head: str = ""
    ledgers: dict[str, int] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return not self.problems

    def say(self, problem: str) -> None:
        """Note a problem; the first few are enough."""
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(problem)


def canonical(posting: dict[str, Any]) -> bytes:
    """The one way of writing a posting down that is hashed."""
    return json.dumps(posting, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check(lines: Iterable[str]) -> LedgerCheck:
    """Recompute a ledger from its lines.

    Raises:
        NotALedger: a line is none of a ledger.
    """
    found = LedgerCheck()
    head = b""
    broken = False
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        posting, sealed = _read(place, line)
        if not found.postings:
            found.account, found.currency = posting["account"], posting["currency"]
            head = hashlib.sha256(f"agora ledger 1\n{found.account}".encode()).digest()
        found.postings += 1
        _check_sums(found, posting)
        head = hashlib.sha256(head + canonical(posting)).digest()
        if sealed is None:
            found.unsealed += 1
        elif found.unsealed:
            found.say(f"posting {posting['number']} is sealed, though one before it is not")
        elif broken:
            continue
        elif sealed != head.hex():
            # All later hashes hang on this one: to name them, too, would say nothing.
            broken = True
            found.say(
                f"posting {posting['number']} ({posting['id']}) is not what was sealed: its hash differs"
            )
        else:
            found.sealed += 1
            found.head = sealed
            found.hashes[posting["number"]] = sealed
    return found


def check_since(found: LedgerCheck, older: LedgerCheck) -> None:
    """Note where a ledger is not the continuation of an older copy of it."""
    if older.account != found.account:
        found.say(f"the older file is of account {older.account}, this one of {found.account}")
        return
    for number, sealed in older.hashes.items():
        if found.hashes.get(number) != sealed:
            found.say(f"posting {number} is not what it was in the older file")
            return


def _read(place: int, line: str) -> tuple[dict[str, Any], str | None]:
    try:
        record = json.loads(line)
        posting, sealed = record["posting"], record.get("hash")
        entries = posting["entries"]
        numbers = [posting["number"], *(posting[name] for name in _ENTRY_SUMS), *entries.values()]
        texts = [
            posting["account"],
            posting["currency"],
            posting["id"],
            *([] if sealed is None else [sealed]),
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotALedger(f"line {place} is no posting of a ledger: {error!r}") from error
    if not all(type(number) is int for number in numbers) or not all(type(text) is str for text in texts):
        raise NotALedger(
            f"line {place} is no posting of a ledger: an amount, a number or an id has another type"
        )
    return posting, sealed


def _check_sums(found: LedgerCheck, posting: dict[str, Any]) -> None:
    name = f"posting {posting['number']} ({posting['id']})"
    if posting["number"] != found.postings:
        found.say(f"{name} stands in place {found.postings}: one is missing or too many")
    if (posting["account"], posting["currency"]) != (found.account, found.currency):
        found.say(f"{name} is of another account or currency")
    entries: dict[str, int] = posting["entries"]
    if len(entries) < 2 or sum(entries.values()) != 0:
        found.say(f"{name} does not balance: its entries add up to {sum(entries.values())}")
    for ledger, amount in entries.items():
        found.ledgers[ledger] = found.ledgers.get(ledger, 0) + amount
    for shown, ledger in _ENTRY_SUMS.items():
        if posting[shown] != found.ledgers.get(ledger, 0):
            found.say(
                f"{name} shows {posting[shown]} as {shown}, its entries come to {found.ledgers.get(ledger, 0)}"
            )


def main(arguments: list[str]) -> int:
    """Check one file and print what is found; the exit code."""
    if len(arguments) != 1:
        print("usage: ledger_check.py FILE", file=sys.stderr)
        return 2
    try:
        with Path(arguments[0]).open(encoding="utf-8") as lines:
            found = check(lines)
    except (OSError, UnicodeDecodeError, NotALedger) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(found))
    return 0 if found.ok else 1


def summary(found: LedgerCheck) -> str:
    """The check in words."""
    lines = [
        f"{found.postings} postings of account {found.account or '?'}: {found.sealed} as they were sealed, "
        f"{found.unsealed} not sealed yet",
        *(f"{ledger}: {amount} micro-units" for ledger, amount in sorted(found.ledgers.items())),
        *(f"WRONG: {problem}" for problem in found.problems),
        f"last hash {found.head or 'none'}",
        "everything agrees" if found.ok else "this ledger does not agree with itself",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
