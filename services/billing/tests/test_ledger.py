"""What the database itself refuses, and what the audit finds."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
from agora_billing.ledger.model import Ledger, Unbalanced, balanced
from agora_billing.verify import audit, summary
from agora_contracts.billing import GetStatement
from agora_contracts.problems import AgoraError
from agora_kit.provision import DatabaseUrls

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_entries_must_balance_before_they_are_written():
    """
    A posting of one entry, or of entries that do not sum to zero, is a fault of ours.
    """
    assert {Ledger.CUSTOMER_CREDIT: -5, Ledger.REVENUE: 5} == balanced(
        {Ledger.CUSTOMER_CREDIT: -5, Ledger.RECEIVABLE: 0, Ledger.REVENUE: 5}
    )
    for entries in ({Ledger.REVENUE: 5}, {}, {Ledger.REVENUE: 5, Ledger.CUSTOMER_CREDIT: -4}):
        with pytest.raises(Unbalanced):
            balanced(entries)


@pytest.fixture(params=["app", "system"])
async def connection(billing_urls: DatabaseUrls, request) -> AsyncIterator[asyncpg.Connection]:
    """A raw connection as one of the service's two roles, with an account there."""
    connection = await asyncpg.connect(getattr(billing_urls, request.param).replace("+asyncpg", ""))
    await connection.execute("SELECT set_config('agora.tenant_id', 'ten_one', false)")
    await connection.execute(
        "INSERT INTO accounts (account_id, tenant_id, currency, opened_at) VALUES ($1, $2, 'USD', $3)",
        ACCOUNT,
        TENANT,
        NOW,
    )
    yield connection
    await connection.close()


async def write(connection: asyncpg.Connection, posting: str, *entries: tuple[str, int, str, str]) -> None:
    """Write one posting with entries (ledger, amount, currency, account) in one statement."""
    await connection.execute(
        "WITH p AS (INSERT INTO postings (posting_id, tenant_id, account_id, number, currency, kind, cause,"
        " description, credit_after, at) VALUES ($1, $2, $3, 1, 'USD', 'top_up', $1, '', 5, $4)) "
        "INSERT INTO entries (posting_id, ledger, tenant_id, account_id, currency, amount) "
        "SELECT $1, l, $2, a, c, n "
        "FROM unnest($5::text[], $6::bigint[], $7::text[], $8::text[]) AS e (l, n, c, a)",
        posting,
        TENANT,
        ACCOUNT,
        NOW,
        *([one[place] for one in entries] for place in range(4)),
    )


async def add_entries(
    connection: asyncpg.Connection, posting: str, *entries: tuple[str, int, str, str]
) -> None:
    """Write entries (ledger, amount, currency, account) in one statement."""
    await connection.execute(
        "INSERT INTO entries (posting_id, ledger, tenant_id, account_id, currency, amount) "
        "SELECT $1, l, $2, a, c, n "
        "FROM unnest($3::text[], $4::bigint[], $5::text[], $6::text[]) AS e (l, n, c, a)",
        posting,
        TENANT,
        *(list(column) for column in zip(*entries, strict=True)),
    )


GOOD = (("customer_credit", 5, "USD", ACCOUNT), ("cash_clearing", -5, "USD", ACCOUNT))


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (("customer_credit", 5, "USD", ACCOUNT),),
        (("customer_credit", 5, "USD", ACCOUNT), ("cash_clearing", -4, "USD", ACCOUNT)),
        (("customer_credit", 5, "USD", ACCOUNT), ("cash_clearing", -5, "EUR", ACCOUNT)),
        (("customer_credit", 5, "EUR", ACCOUNT), ("cash_clearing", -5, "EUR", ACCOUNT)),
        (("customer_credit", 5, "USD", "acc_other"), ("cash_clearing", -5, "USD", "acc_other")),
        (("customer_credit", 0, "USD", ACCOUNT), ("cash_clearing", 0, "USD", ACCOUNT)),
        (("customer_credit", 5, "USD", ACCOUNT), ("pocket", -5, "USD", ACCOUNT)),
    ],
)
async def test_the_database_refuses_postings_that_do_not_balance(connection, entries):
    """
    Whatever the code above it does: no posting without entries, with one, unbalanced in a currency, of
    another account, of zero, or on a ledger that is not there.
    """
    with pytest.raises(asyncpg.CheckViolationError):
        await write(connection, "post_1", *entries)

    assert 0 == await connection.fetchval("SELECT count(*) FROM postings")


async def test_the_database_refuses_to_unbalance_a_posting_later(connection):
    """
    Entries added to an old posting must balance, too.
    """
    await write(connection, "post_1", *GOOD)

    with pytest.raises(asyncpg.CheckViolationError):
        await add_entries(connection, "post_1", ("revenue", 1, "USD", ACCOUNT))


async def test_a_cause_is_posted_once(connection):
    """
    A second posting of the same cause fails in the database.
    """
    await write(connection, "post_1", *GOOD)

    with pytest.raises(asyncpg.UniqueViolationError):
        await write(connection, "post_1", *GOOD)


@pytest.mark.parametrize("table", ["postings", "entries", "charges"])
@pytest.mark.parametrize("change", ["UPDATE {} SET tenant_id = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_the_ledger_is_append_only(connection, billing_urls: DatabaseUrls, table, change):
    """
    Neither service role may change or remove what is booked, and even the tables' owner is stopped.
    """
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(change.format(table))
    owner = await asyncpg.connect(billing_urls.owner.replace("+asyncpg", ""))
    try:
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await owner.execute(change.format(table))
    finally:
        await owner.close()


@pytest.mark.parametrize("wrong", ["held = 1", "credit = -1", "receivable = 1", "receivable = -1"])
async def test_the_database_refuses_an_account_that_cannot_be(connection, wrong):
    """
    More held than there is, negative credit, more owed than allowed.
    """
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(f"UPDATE accounts SET {wrong}")


async def test_a_tenant_sees_only_its_own_rows(platform: Platform):
    """
    Under a tenant's role, another tenant's accounts, holds, postings and charges are not there.
    """
    await platform.fund(1_000_000)
    await platform.ask(hold_request("run_1"))
    await platform.publish(TENANT, usage("run_1"))
    await platform.settled("run_1")

    async with platform.database.transaction("ten_other") as connection:
        for table in ("accounts", "holds", "postings", "entries", "charges", "outbox"):
            rows = await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")
            assert 0 == rows.scalar_one()
    with pytest.raises(AgoraError) as refused:
        await platform.ask(GetStatement(account=ACCOUNT, tenant="ten_other"))
    assert "not_found" == refused.value.slug


@pytest.mark.parametrize("cursor", ["%%%", "WyJ4Il0", "bm8"])
async def test_a_cursor_that_is_not_ours_is_refused(platform: Platform, cursor):
    """
    A made-up cursor is an error and not the first page.
    """
    await platform.fund(1)

    with pytest.raises(AgoraError) as refused:
        await platform.ask(GetStatement(account=ACCOUNT, tenant=TENANT, cursor=cursor))

    assert "invalid_cursor" == refused.value.slug


async def test_the_audit_agrees_with_untouched_books_and_finds_tampering(platform: Platform, billing_urls):
    """
    `python -m agora_billing.verify --json` prints the figures with exit code 0; a changed balance or a lost
    hold is named, with exit code 1, also when only its account is looked at, and in words without --json.
    """
    await platform.fund(1_000_000)
    await platform.ask(hold_request("run_1"))
    good = run_audit(billing_urls)
    async with platform.database.system() as connection:
        await connection.exec_driver_sql("UPDATE accounts SET credit = credit + 1, held = held - 1")
    bad = run_audit(billing_urls)

    assert 0 == good.returncode
    report = json.loads(good.stdout)
    assert (True, 1_000_000, 10_000, 1) == (
        report["ok"], report["credit"], report["held"], report["open_holds"],
    )  # fmt: skip
    assert 1 == bad.returncode
    assert [
        ("account credit is the sum of its entries", ACCOUNT, 1_000_000, 1_000_001),
        ("account held is the sum of its open holds", ACCOUNT, 10_000, 9_999),
    ] == [tuple(fault.values())[:4] for fault in json.loads(bad.stdout)["faults"]]
    report = await audit(billing_urls.system)
    assert not report.ok
    # Postings may be sealed between the two audits, which changes the figures of sealing alone.
    assert report.faults == (await audit(billing_urls.system, ACCOUNT)).faults
    assert (await audit(billing_urls.system, "acc_other")).ok
    nobody = run_audit(billing_urls, "--account", "acc_other")
    assert (2, True) == (nobody.returncode, "there is no account acc_other" in nobody.stderr)
    said = summary(report).splitlines()
    assert f"WRONG account credit is the sum of its entries: {ACCOUNT}: 1000001 instead of 1000000" in said
    assert "2 places do not agree" == said[-1]


def run_audit(urls: DatabaseUrls, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the audit as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "agora_billing.verify", "--json", *arguments],
        env=os.environ | {"AGORA_DATABASE_SYSTEM_URL": urls.system},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
