"""The verifier of ledgers: what anybody can recompute from a saved file."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agora import ledger_check
from agora.cli import app
from agora.ledger_check import NotALedger, check, check_since
from typer.testing import CliRunner

from .scripted_platform import Answer, Platform


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


def a_ledger(count: int = 5, unsealed: int = 0) -> list[dict[str, Any]]:
    """Top-ups of 1, 2, 3, … micro-units, the last ones not sealed yet."""
    records = []
    credit = 0
    head = hashlib.sha256(b"agora ledger 1\nacc_one").digest()
    for number in range(1, count + 1):
        credit += number
        posting = {
            "account": "acc_one", "at": "2026-01-05T09:00:01.000000Z", "author": None, "cause": f"größe {number}",
            "credit_after": credit, "currency": "USD", "description": 'a "top-up"',
            "entries": {"cash_clearing": -number, "customer_credit": number}, "id": f"post_{number}",
            "kind": "top_up", "number": number, "promotional_after": 0, "run": None, "tenant": "ten_one",
        }  # fmt: skip
        text = json.dumps(posting, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        head = hashlib.sha256(head + text.encode()).digest()
        records.append({"posting": posting, "hash": head.hex() if number <= count - unsealed else None})
    return records


def lines(records: list[dict[str, Any]]) -> list[str]:
    """A ledger as it is saved."""
    return [json.dumps(record) + "\n" for record in records]


def test_an_untouched_ledger_agrees() -> None:
    """
    Sums, numbers and hashes are recomputed; postings that are not sealed yet are counted.
    """
    records = a_ledger(5, unsealed=2)

    found = check([*lines(records), "\n"])

    assert (True, [], 5, 3, 2) == (found.ok, found.problems, found.postings, found.sealed, found.unsealed)
    assert {"cash_clearing": -15, "customer_credit": 15} == found.ledgers
    assert records[2]["hash"] == found.head


def test_the_example_that_billing_hashes_has_the_same_bytes() -> None:
    """
    The canonical form is byte for byte the one that billing's tests show.
    """
    posting = {
        "tenant": "ten_one", "run": None, "promotional_after": 0, "number": 1, "kind": "top_up", "id": "post_1",
        "entries": {"customer_credit": 5, "cash_clearing": -5}, "description": 'Top-up "größe"',
        "currency": "USD", "credit_after": 5, "cause": "acc_one:größe", "author": None,
        "at": "2026-01-05T09:00:01.000000Z", "account": "acc_one",
    }  # fmt: skip

    assert (
        '{"account":"acc_one","at":"2026-01-05T09:00:01.000000Z","author":null,"cause":"acc_one:größe",'
        '"credit_after":5,"currency":"USD","description":"Top-up \\"größe\\"",'
        '"entries":{"cash_clearing":-5,"customer_credit":5},"id":"post_1","kind":"top_up","number":1,'
        '"promotional_after":0,"run":null,"tenant":"ten_one"}'
    ).encode() == ledger_check.canonical(posting)


def change(records: list[dict[str, Any]], number: int, **fields: Any) -> None:
    """Change a posting after it was sealed."""
    records[number - 1]["posting"] |= fields


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (
            lambda records: change(records, 3, description="a gift"),
            "posting 3 (post_3) is not what was sealed",
        ),
        (
            lambda records: change(records, 3, at="2026-01-05T09:00:02.000000Z"),
            "posting 3 (post_3) is not what",
        ),
        (
            lambda records: change(records, 3, entries={"cash_clearing": -4, "customer_credit": 4}),
            "posting 3 (post_3) shows 6 as credit_after, its entries come to 7",
        ),
        (lambda records: change(records, 3, entries={"customer_credit": 3}), "does not balance"),
        (lambda records: change(records, 3, account="acc_two"), "of another account or currency"),
        (lambda records: records.pop(2), "posting 4 (post_4) stands in place 3"),
        (lambda records: records.pop(0), "posting 2 (post_2) stands in place 1"),
        (lambda records: records.insert(2, records[1]), "posting 2 (post_2) stands in place 3"),
        (
            lambda records: records.__setitem__(2, records[2] | {"hash": "00" * 32}),
            "posting 3 (post_3) is not what",
        ),
        (lambda records: records.__setitem__(2, records[2] | {"hash": None}), "posting 4 is sealed, though"),
    ],
)
def test_tampering_is_found(tamper: Callable[[list[dict[str, Any]]], Any], problem: str) -> None:
    """
    Whatever is changed, removed, inserted or unsealed, the first problem names the posting.
    """
    records = a_ledger()
    tamper(records)

    found = check(lines(records))

    assert not found.ok
    assert any(problem in said for said in found.problems), found.problems


def test_a_whole_new_chain_is_found_by_an_older_copy() -> None:
    """
    Somebody who rewrites a posting and every hash after it agrees with itself, but not with what was saved before.
    """
    older, newer = check(lines(a_ledger(3))), check(lines(a_ledger(5)))
    forged = a_ledger(5)
    change(forged, 2, cause="another")
    head = hashlib.sha256(b"agora ledger 1\nacc_one").digest()
    for record in forged:
        head = hashlib.sha256(head + ledger_check.canonical(record["posting"])).digest()
        record["hash"] = head.hex()
    lie = check(lines(forged))

    check_since(newer, older)
    assert newer.ok and lie.ok
    check_since(lie, older)
    assert ["posting 2 is not what it was in the older file"] == lie.problems


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"posting": 5}',
        '{"posting": {"number": 1}, "hash": null}',
        '{"posting": null}',
    ],
)
def test_what_is_no_ledger_is_refused(line: str) -> None:
    """
    A file of something else is refused with the line's number.
    """
    with pytest.raises(NotALedger, match="line 2 is no posting"):
        check(["\n", line])


@pytest.mark.parametrize(
    ("field", "value"), [("number", "1"), ("credit_after", 1.0), ("id", 5), ("entries", {"a": True})]
)
def test_amounts_are_whole_numbers(field: str, value: Any) -> None:
    """
    A number as text, a fraction or a truth value is no amount.
    """
    records = a_ledger(1)
    records[0]["posting"][field] = value

    with pytest.raises(NotALedger, match="line 1"):
        check(lines(records))


def test_the_verifier_runs_alone(tmp_path: Path) -> None:
    """
    The module needs nothing but the standard library, not even the package around it.
    """
    file = tmp_path / "ledger.jsonl"
    file.write_text("".join(lines(a_ledger())), encoding="utf-8")
    program = tmp_path / "ledger_check.py"
    program.write_text(Path(ledger_check.__file__).read_text(encoding="utf-8"), encoding="utf-8")

    def run(target: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-I", str(program), str(target)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = run(file)
    assert (0, "everything agrees") == (good.returncode, good.stdout.splitlines()[-1]), good.stderr
    file.write_text(file.read_text(encoding="utf-8").replace("top-up", "gift", 1), encoding="utf-8")
    bad = run(file)
    assert 1 == bad.returncode
    assert "WRONG: posting 1 (post_1) is not what was sealed" in bad.stdout
    assert 2 == run(tmp_path / "missing").returncode


def test_a_ledger_is_saved_and_verified_by_command(
    platform: Platform, command: Callable[..., Any], tmp_path: Path
) -> None:
    """
    `agora ledger FILE` writes every page, `agora verify-ledger FILE` recomputes it and says 1 when it disagrees.
    """
    platform.on("GET /account/ledger", Answer(200, {"items": a_ledger(), "next_cursor": None}))
    file, older = tmp_path / "ledger.jsonl", tmp_path / "older.jsonl"

    assert 0 == command("ledger", str(file)).exit_code
    older.write_text("".join(lines(a_ledger(2))), encoding="utf-8")
    checked = command("verify-ledger", str(file), "--since", str(older))
    assert (0, True) == (checked.exit_code, "everything agrees" in checked.stdout)
    report = json.loads(command("verify-ledger", str(file), "--json").stdout)
    assert (True, 5, 15) == (report["ok"], report["sealed"], report["ledgers"]["customer_credit"])
    file.write_text(file.read_text(encoding="utf-8").replace("größe 2", "größe 3"), encoding="utf-8")
    assert 1 == command("verify-ledger", str(file)).exit_code
    assert 2 == command("verify-ledger", str(tmp_path / "missing")).exit_code
