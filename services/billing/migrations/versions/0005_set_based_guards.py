"""The guards of holds, charges and the ledger look at a whole statement at once.

Foreign keys and a trigger per row asked the same questions for every row by itself and took half of what a charge
costs in the database. What they guarded is guarded still, by triggers that see all rows of a statement together, and
more: tenant, account and currency must agree, too. Nothing that is referred to is ever removed.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

# Plans are kept per connection and made while tables are small: each lookup must go by the index all the same.
_BY_INDEX = "SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off"

_CHECK_HOLDS = f"""
    CREATE FUNCTION check_holds() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE
        fault text;
    BEGIN
        SELECT n.account_id INTO fault
        FROM (SELECT DISTINCT tenant_id, account_id, currency FROM new_holds) n
        WHERE NOT EXISTS (
            SELECT FROM accounts a
            WHERE a.account_id = n.account_id AND a.tenant_id = n.tenant_id AND a.currency = n.currency)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'a hold names account %, which is not there with its tenant and currency', fault
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        SELECT n.price_version INTO fault
        FROM (SELECT DISTINCT price_version FROM new_holds) n
        WHERE NOT EXISTS (SELECT FROM price_versions p WHERE p.price_version = n.price_version)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'a hold names price version %, which is not pinned', fault
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        RETURN NULL;
    END $$
"""

_CHECK_CHARGES = f"""
    CREATE FUNCTION check_charges() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE
        fault text;
    BEGIN
        SELECT n.run INTO fault
        FROM new_charges n LEFT JOIN holds h ON h.run = n.run
        WHERE h.run IS NULL
           OR (h.tenant_id, h.account_id, h.currency) <> (n.tenant_id, n.account_id, n.currency)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'the charge of run % has no hold of its tenant, account and currency', fault
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        RETURN NULL;
    END $$
"""

# No entry is zero, so entries that sum to zero are two or more.
_CHECK_ENTRIES = f"""
    CREATE OR REPLACE FUNCTION check_entries() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE
        fault text;
    BEGIN
        SELECT n.posting_id INTO fault
        FROM (
            SELECT posting_id, tenant_id, account_id, currency, sum(amount) AS total
            FROM new_entries GROUP BY posting_id, tenant_id, account_id, currency
        ) n
        LEFT JOIN postings p ON p.posting_id = n.posting_id
        WHERE n.total <> 0 OR p.posting_id IS NULL
           OR (p.tenant_id, p.account_id, p.currency) <> (n.tenant_id, n.account_id, n.currency)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'the entries of posting % do not sum to zero, or are of another posting, tenant,'
                ' account or currency', fault USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
"""

# A posting and its entries are written by one statement, at the end of which both are looked at.
_CHECK_POSTINGS = f"""
    CREATE FUNCTION check_postings() RETURNS trigger LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE
        fault text;
    BEGIN
        SELECT n.posting_id INTO fault
        FROM new_postings n
        WHERE NOT EXISTS (SELECT FROM entries e WHERE e.posting_id = n.posting_id)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'posting % has no entries: write both in one statement', fault
                USING ERRCODE = 'check_violation';
        END IF;
        SELECT n.account_id INTO fault
        FROM (SELECT DISTINCT tenant_id, account_id, currency FROM new_postings) n
        WHERE NOT EXISTS (
            SELECT FROM accounts a
            WHERE a.account_id = n.account_id AND a.tenant_id = n.tenant_id AND a.currency = n.currency)
        LIMIT 1;
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION 'a posting names account %, which is not there with its tenant and currency', fault
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        RETURN NULL;
    END $$
"""

_STATEMENTS = (
    "DROP TRIGGER postings_balance ON postings",
    "DROP FUNCTION check_posting()",
    "ALTER TABLE entries DROP CONSTRAINT fk_entries_posting_id",
    "ALTER TABLE postings DROP CONSTRAINT fk_postings_account_id",
    "ALTER TABLE charges DROP CONSTRAINT fk_charges_run",
    _CHECK_HOLDS,
    _CHECK_CHARGES,
    _CHECK_ENTRIES,
    _CHECK_POSTINGS,
    "CREATE TRIGGER holds_belong AFTER INSERT ON holds REFERENCING NEW TABLE AS new_holds "
    "FOR EACH STATEMENT EXECUTE FUNCTION check_holds()",
    "CREATE TRIGGER charges_belong AFTER INSERT ON charges REFERENCING NEW TABLE AS new_charges "
    "FOR EACH STATEMENT EXECUTE FUNCTION check_charges()",
    "CREATE TRIGGER postings_have_entries AFTER INSERT ON postings REFERENCING NEW TABLE AS new_postings "
    "FOR EACH STATEMENT EXECUTE FUNCTION check_postings()",
    # What is referred to is not removed, nor does it change its name.
    "REVOKE DELETE, TRUNCATE ON accounts, holds, price_versions, quotes FROM agora_billing, agora_billing_system",
)


def upgrade() -> None:
    """Put the new guards in the place of the old ones."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Not offered: the old guards could not be trusted with what the new ones have let in."""
    raise NotImplementedError("the guards of the ledger are not taken back")
