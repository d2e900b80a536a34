"""The chain of hashes: who seals, what anybody can recompute, and which tampering it finds."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest
from agora_billing.audit.service import verify
from agora_billing.seals.model import canonical, first_hash, next_hash, written
from agora_billing.seals.service import Sealer
from agora_contracts.billing import TopUp
from agora_contracts.ledger import LedgerPosting, LedgerRecord, ReadLedger
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_kit.provision import DatabaseUrls

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage

A_POSTING = LedgerPosting(
    account="acc_one",
    at="2026-01-05T09:00:01.000000Z",
    author=None,
    cause="acc_one:größe",
    credit_after=5,
    currency="USD",
    description='Top-up "größe"',
    entries={"customer_credit": 5, "cash_clearing": -5},
    id="post_1",
    kind="top_up",
    number=1,
    promotional_after=0,
    run=None,
    tenant="ten_one",
)


def test_a_posting_is_written_down_in_one_way():
    """
    Keys in order, no spaces, UTF-8; the hashes of this example are the ones that the verifier of customers
    computes, too.
    """
    assert (
        '{"account":"acc_one","at":"2026-01-05T09:00:01.000000Z","author":null,"cause":"acc_one:größe",'
        '"credit_after":5,"currency":"USD","description":"Top-up \\"größe\\"",'
        '"entries":{"cash_clearing":-5,"customer_credit":5},"id":"post_1","kind":"top_up","number":1,'
        '"promotional_after":0,"run":null,"tenant":"ten_one"}'
    ).encode() == canonical(A_POSTING)
    assert "5a5612b3" == first_hash("acc_one").hex()[:8]
    assert (
        hashlib.sha256(first_hash("acc_one") + canonical(A_POSTING)).hexdigest()
        == next_hash(first_hash("acc_one"), A_POSTING).hex()
    )


def test_a_moment_is_written_in_utc_with_microseconds():
    """
    Whatever zone a moment is read in, it is hashed as the same text.
    """
    at = datetime(2026, 1, 5, 10, 0, 1, 20, tzinfo=timezone(timedelta(hours=1)))

    assert "2026-01-05T09:00:01.000020Z" == written(at) == written(at.astimezone(UTC))


async def pay(platform: Platform, number: int) -> None:
    """One more posting on the account."""
    await platform.ask(
        TopUp(account=ACCOUNT, tenant=TENANT, amount=Money(amount=number + 1), reference=f"more {number}")
    )


async def ledger(platform: Platform, limit: int = 100) -> list[LedgerRecord]:
    """The account's whole ledger, page by page."""
    records: list[LedgerRecord] = []
    cursor = None
    while True:
        page = await platform.ask(ReadLedger(account=ACCOUNT, tenant=TENANT, cursor=cursor, limit=limit))
        records += page.items
        if (cursor := page.next_cursor) is None:
            return records


def recomputed(records: list[LedgerRecord]) -> list[str]:
    """The hashes of an account's records, computed from what is documented and nothing of billing's."""
    head = hashlib.sha256(f"agora ledger 1\n{ACCOUNT}".encode()).digest()
    found = []
    for record in records:
        posting = {field: getattr(record.posting, field) for field in record.posting.__struct_fields__}
        text = json.dumps(posting, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        head = hashlib.sha256(head + text.encode()).digest()
        found.append(head.hex())
    return found


async def seal(platform: Platform) -> None:
    """Seal what is booked now, as the service does every few seconds."""
    await Sealer(platform.database, platform.clock).sweep()


async def test_postings_are_sealed_and_can_be_recomputed(platform: Platform):
    """
    A ledger with top-ups and charges is read page by page with entries that sum to zero and hashes that
    anybody can compute; what is booked later continues the chain.
    """
    await platform.fund(1_000_000)
    await platform.ask(hold_request("run_1"))
    await platform.publish(TENANT, usage("run_1", 1, model_cost="0.003"))
    await platform.settled("run_1")
    await seal(platform)
    first = await ledger(platform, limit=1)
    await pay(platform, 1)
    assert [None] == [record.hash for record in (await ledger(platform))[2:]]
    await seal(platform)

    records = await ledger(platform, limit=2)

    assert [1, 2, 3] == [record.posting.number for record in records]
    assert recomputed(records) == [record.hash for record in records]
    assert first == records[:2]
    assert {"customer_credit": -13_000, "revenue": 10_000, "model_cost": 3_000} == records[1].posting.entries
    assert all(sum(record.posting.entries.values()) == 0 for record in records)


async def test_another_tenants_ledger_is_not_there(platform: Platform):
    """
    A ledger is read by its own tenant alone; a made-up cursor is refused.
    """
    await platform.fund(1_000_000)

    for query, slug in (
        (ReadLedger(account=ACCOUNT, tenant="ten_other"), "not_found"),
        (ReadLedger(account=ACCOUNT, tenant=TENANT, cursor="%%%"), "invalid_cursor"),
    ):
        with pytest.raises(AgoraError) as refused:
            await platform.ask(query)
        assert slug == refused.value.slug


async def test_many_sealers_beside_many_bookings_seal_each_posting_once(platform: Platform):
    """
    Four sealers run beside sixty top-ups: every posting is sealed once, in the order of its number, and the
    audit agrees.
    """
    await platform.fund(1)
    done = asyncio.Event()

    async def book(numbers: range) -> None:
        for number in numbers:
            await pay(platform, number)

    async def keep_sealing() -> None:
        while not done.is_set():
            await seal(platform)
            await asyncio.sleep(0.005)

    sealers = asyncio.gather(*(keep_sealing() for _ in range(4)))
    await asyncio.gather(*(book(range(first, 60, 5)) for first in range(5)))
    done.set()
    await sealers
    await seal(platform)

    records = await ledger(platform)
    assert 61 == len(records)
    assert recomputed(records) == [record.hash for record in records]
    report = await verify(platform.database)
    assert (True, 61, 0, None) == (report.ok, report.sealed, report.unsealed, report.first_tampered)


async def test_a_sealer_that_dies_is_continued_by_the_next(platform: Platform, billing_urls: DatabaseUrls):
    """
    A sealer that is cut off before its commit leaves nothing behind; while one holds an account, others
    leave it alone and do not wait.
    """
    await platform.fund(1_000_000)
    rival = await asyncpg.connect(billing_urls.system.replace("+asyncpg", ""))
    await seal(platform)
    await pay(platform, 1)
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute("SELECT 1 FROM seal_heads FOR UPDATE")

    await seal(platform)
    assert 1 == (await verify(platform.database)).unsealed
    rival.terminate()

    async def all_sealed() -> bool:
        await seal(platform)
        return (await verify(platform.database)).unsealed == 0

    await platform.until(all_sealed)


async def test_a_posting_that_comes_later_than_its_time_is_sealed_all_the_same(platform: Platform):
    """
    A sealer looks for what is new since it last looked, and every some minutes at every account.
    """
    await platform.fund(1)
    sealer = Sealer(platform.database, platform.clock)
    await sealer.sweep()
    await pay(platform, 1)
    await sealer.sweep()
    new = (await verify(platform.database)).unsealed
    platform.clock.ahead -= timedelta(minutes=5)
    await pay(platform, 2)
    platform.clock.ahead += timedelta(minutes=5)
    await sealer.sweep()
    platform.clock.ahead += timedelta(minutes=11)
    await sealer.sweep()

    assert [0, 0] == [new, (await verify(platform.database)).unsealed]


@pytest.fixture
async def tamperer(billing_urls: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """Somebody with all rights who has taken the guards away."""
    connection = await asyncpg.connect(billing_urls.owner.replace("+asyncpg", ""))
    for table in ("postings", "entries", "posting_seals"):
        await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await connection.execute("ALTER TABLE posting_seals DROP CONSTRAINT fk_posting_seals_posting_id")
    yield connection
    await connection.close()


_THIRD = "(SELECT posting_id FROM postings WHERE number = 3)"


@pytest.mark.parametrize(
    ("tampering", "named", "why"),
    [
        (
            f"UPDATE entries SET amount = amount * 2 WHERE posting_id = {_THIRD}",
            "third",
            "not what was sealed",
        ),
        ("UPDATE postings SET description = 'a gift' WHERE number = 3", "third", "not what was sealed"),
        ("UPDATE postings SET at = at - interval '1 day' WHERE number = 3", "third", "not what was sealed"),
        ("UPDATE postings SET cause = 'other' WHERE number = 3", "third", "not what was sealed"),
        (
            f"DELETE FROM entries WHERE posting_id = {_THIRD}; DELETE FROM postings WHERE number = 3",
            "third",
            "no longer booked",
        ),
        (
            f"UPDATE entries SET ledger = 'rounding' WHERE posting_id = {_THIRD} AND ledger = 'cash_clearing'",
            "third",
            "not what was sealed",
        ),
        (
            "UPDATE postings SET number = 100 WHERE number = 3; UPDATE postings SET number = 3 WHERE number = 4;"
            "UPDATE postings SET number = 4 WHERE number = 100",
            "fourth",
            "not what was sealed",
        ),
        ("DELETE FROM posting_seals WHERE number = 3", "third", "its seal is gone"),
        ("DELETE FROM posting_seals WHERE number >= 3", "third", "its seal is gone"),
        (
            "DELETE FROM posting_seals WHERE number = 3;"
            f"DELETE FROM entries WHERE posting_id = {_THIRD}; DELETE FROM postings WHERE number = 3",
            "number 3",
            "neither booked nor sealed",
        ),
        ("UPDATE posting_seals SET hash = sha256('x') WHERE number = 3", "third", "not what was sealed"),
        ("UPDATE seal_heads SET number = 4", "head", "not the last seal"),
    ],
)
async def test_the_audit_names_the_first_tampered_posting(
    platform: Platform, tamperer: asyncpg.Connection, tampering: str, named: str, why: str
):
    """
    Somebody with all rights and no triggers changes, removes, renumbers or unseals a posting: the chain
    names the first one that is not what it was.
    """
    await platform.fund(1_000_000)
    for number in range(5):
        await pay(platform, number)
    await seal(platform)
    ids = [record.posting.id for record in await ledger(platform)]
    names = {"third": ids[2], "fourth": ids[3], "number 3": "number 3", "head": f"head of {ACCOUNT}"}
    assert (await verify(platform.database)).ok

    await tamperer.execute(tampering)
    report = await verify(platform.database)

    assert not report.ok
    assert names[named] == report.first_tampered
    [fault] = [one for one in report.faults if one.rule == "a posting is what its hash has sealed"]
    assert why in fault.detail and ACCOUNT in fault.detail


@pytest.mark.parametrize("table", ["posting_seals", "refunds"])
async def test_seals_and_refunds_are_append_only(billing_urls: DatabaseUrls, table: str):
    """
    Neither service role may change or remove them, and even the tables' owner is stopped.
    """
    for url, error in (
        (billing_urls.app, asyncpg.InsufficientPrivilegeError),
        (billing_urls.system, asyncpg.InsufficientPrivilegeError),
        (billing_urls.owner, asyncpg.RestrictViolationError),
    ):
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            for change in ("UPDATE {} SET tenant_id = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
                with pytest.raises(error):
                    await connection.execute(change.format(table))
        finally:
            await connection.close()
