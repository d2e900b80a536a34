"""What the database itself refuses of holds, charges and postings, whatever the code above it does."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from agora_kit.provision import DatabaseUrls

from .conftest import ACCOUNT, PRICE, TENANT, Platform, hold_request, usage

HOLD = """
    INSERT INTO holds (run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted,
                       price_version, basis, quote_id, placed_at, lapses_at)
    VALUES ('run_2', $1, $2, 1, '', 'firm', $3, 1, 1, $4, 'task', 'quote_1', now(), now())
"""
CALLED = """
    INSERT INTO holds (run, tenant_id, account_id, epoch, fingerprint, state, currency, amount, quoted,
                       price_version, basis, quote_id, placed_at, lapses_at, parent, from_parent)
    VALUES ('run_2', $1, $2, 1, '', 'firm', 'USD', 1, 1, 'price_echo', 'task', 'quote_1', now(), now(), $3, 1)
"""
CHARGE = """
    INSERT INTO charges (run, revision, tenant_id, account_id, kind, currency, amount, difference, credit_part,
                         receivable_part, platform_part, released, lines, inputs, explanation, outcome,
                         deliverable, at)
    VALUES ($1, 7, $2, $3, 'adjusted', $4, 0, 0, 0, 0, 0, 0, '[]', '{}', '', '', '', now())
"""
POSTING = """
    INSERT INTO postings (posting_id, tenant_id, account_id, number, currency, kind, cause, description,
                          credit_after, at)
    VALUES ('post_1', $1, $2, 99, 'USD', 'top_up', 'cause', '', 0, now())
"""
ENTRIES = """
    INSERT INTO entries (posting_id, ledger, tenant_id, account_id, currency, amount)
    VALUES ('post_1', 'customer_credit', $1, $2, 'USD', 5), ('post_1', 'cash_clearing', $1, $2, 'USD', -5)
"""
BOTH = f"WITH p AS ({POSTING}) {ENTRIES}"


@pytest.fixture
async def connection(platform: Platform, billing_urls: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """A raw connection of the system role, beside an account with a settled run."""
    await platform.fund(1_000_000)
    await platform.ask(hold_request("run_1"))
    await platform.publish(TENANT, usage("run_1"))
    await platform.settled("run_1")
    connection = await asyncpg.connect(billing_urls.system.replace("+asyncpg", ""))
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("statement", "good", "wrong"),
    [
        (
            HOLD,
            (TENANT, ACCOUNT, "USD", PRICE),
            [
                (TENANT, "acc_none", "USD", PRICE),
                ("ten_other", ACCOUNT, "USD", PRICE),
                (TENANT, ACCOUNT, "EUR", PRICE),
                (TENANT, ACCOUNT, "USD", "price_none"),
            ],
        ),
        (
            CALLED,
            (TENANT, ACCOUNT, "run_1"),
            [(TENANT, ACCOUNT, "run_none"), ("ten_other", ACCOUNT, "run_1"), (TENANT, "acc_other", "run_1")],
        ),
        (
            CHARGE,
            ("run_1", TENANT, ACCOUNT, "USD"),
            [
                ("run_none", TENANT, ACCOUNT, "USD"),
                ("run_1", "ten_other", ACCOUNT, "USD"),
                ("run_1", TENANT, "acc_other", "USD"),
                ("run_1", TENANT, ACCOUNT, "EUR"),
            ],
        ),
    ],
)
async def test_a_hold_and_a_charge_belong_to_what_is_there(connection, statement, good, wrong):
    """
    A hold without its account, price version or calling run, a charge without its hold, and each of another tenant, account or
    currency than it belongs to: refused. As they should be: stored.
    """
    for values in wrong:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(statement, *values)
    assert "INSERT 0 1" == await connection.execute(statement, *good)


async def test_a_posting_comes_with_its_entries(connection):
    """
    A posting alone, one of an account that is not there, entries of no posting: refused.
    """
    with pytest.raises(asyncpg.CheckViolationError, match="write both in one statement"):
        await connection.execute(POSTING, TENANT, ACCOUNT)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(ENTRIES, TENANT, ACCOUNT)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute(BOTH, TENANT, "acc_none")
    assert "INSERT 0 2" == await connection.execute(BOTH, TENANT, ACCOUNT)


@pytest.mark.parametrize("table", ["accounts", "holds", "price_versions", "quotes", "charges", "postings"])
async def test_what_is_referred_to_is_not_removed(connection, table):
    """
    Neither role may delete what others refer to, now that no foreign key stops it.
    """
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(f"DELETE FROM {table}")


async def test_the_guards_look_things_up_by_index(connection):
    """
    However the tables' sizes were when a plan was made, a guard does not read a whole table.
    """
    settings = await connection.fetch(
        "SELECT proname, proconfig FROM pg_proc WHERE proname LIKE 'check\\_%' AND prorettype = 'trigger'::regtype"
    )
    guards = {"check_holds", "check_called_holds", "check_charges", "check_entries", "check_postings"}
    assert guards == {row["proname"] for row in settings if "enable_seqscan=off" in (row["proconfig"] or [])}
