"""What must be so in the books, each as a query of every case with what is `expected` and what is `found`.

Each query names the `account_id` of its cases, so that one account can be looked at alone.
"""

RULES: dict[str, str] = {
    "account credit is the sum of its entries": """
        SELECT a.account_id, a.account_id AS subject, coalesce(sum(e.amount), 0) AS expected, a.credit AS found
        FROM accounts a
        LEFT JOIN entries e ON e.account_id = a.account_id AND e.ledger = 'customer_credit'
        GROUP BY a.account_id
    """,
    "account promotional credit is the sum of its entries": """
        SELECT a.account_id, a.account_id AS subject, coalesce(sum(e.amount), 0) AS expected,
               a.promotional AS found
        FROM accounts a
        LEFT JOIN entries e ON e.account_id = a.account_id AND e.ledger = 'promotional_credit'
        GROUP BY a.account_id
    """,
    "account receivable is the sum of its entries": """
        SELECT a.account_id, a.account_id AS subject, -coalesce(sum(e.amount), 0) AS expected,
               a.receivable AS found
        FROM accounts a
        LEFT JOIN entries e ON e.account_id = a.account_id AND e.ledger = 'receivable'
        GROUP BY a.account_id
    """,
    "account held is the sum of its open holds": """
        SELECT a.account_id, a.account_id AS subject, coalesce(sum(h.amount), 0) AS expected, a.held AS found
        FROM accounts a
        LEFT JOIN holds h ON h.account_id = a.account_id AND h.state IN ('tentative', 'firm')
        GROUP BY a.account_id
    """,
    "account postings are numbered without gaps": """
        SELECT a.account_id, a.account_id AS subject, count(p.number) AS expected, a.postings AS found
        FROM accounts a LEFT JOIN postings p USING (account_id) GROUP BY a.account_id
        UNION ALL
        SELECT a.account_id, a.account_id, coalesce(max(p.number), 0), a.postings
        FROM accounts a LEFT JOIN postings p USING (account_id) GROUP BY a.account_id
    """,
    "credit after a posting is the sum of entries until then": """
        SELECT p.account_id, p.posting_id AS subject, p.credit_after AS found,
               sum(coalesce(e.amount, 0)) OVER (PARTITION BY p.account_id ORDER BY p.number) AS expected
        FROM postings p LEFT JOIN entries e ON e.posting_id = p.posting_id AND e.ledger = 'customer_credit'
    """,
    "promotional credit after a posting is the sum of entries until then": """
        SELECT p.account_id, p.posting_id AS subject, p.promotional_after AS found,
               sum(coalesce(e.amount, 0)) OVER (PARTITION BY p.account_id ORDER BY p.number) AS expected
        FROM postings p LEFT JOIN entries e ON e.posting_id = p.posting_id AND e.ledger = 'promotional_credit'
    """,
    "entries of a posting sum to zero": """
        SELECT p.account_id, p.posting_id AS subject, 0 AS expected, coalesce(sum(e.amount), 0) AS found
        FROM postings p LEFT JOIN entries e USING (posting_id)
        GROUP BY p.account_id, p.posting_id, e.currency
    """,
    "a posting has two entries or more": """
        SELECT p.account_id, p.posting_id AS subject, greatest(count(e.ledger), 2) AS expected,
               count(e.ledger) AS found
        FROM postings p LEFT JOIN entries e USING (posting_id) GROUP BY p.account_id, p.posting_id
    """,
    "a run's charge is the sum of its differences": """
        SELECT c.account_id, c.run AS subject, c.amount AS expected, c.differences AS found
        FROM (
            SELECT DISTINCT ON (run) account_id, run, amount,
                   sum(difference) OVER (PARTITION BY run) AS differences
            FROM charges ORDER BY run, revision DESC
        ) c
    """,
    "a run's refunds are within its charge": """
        SELECT c.account_id, c.run AS subject, least(r.amount, c.amount) AS expected, r.amount AS found
        FROM (SELECT DISTINCT ON (run) account_id, run, amount FROM charges ORDER BY run, revision DESC) c
        JOIN (SELECT run, sum(amount) AS amount FROM refunds GROUP BY run) r USING (run)
    """,
    "a settled hold has exactly one settlement": """
        SELECT h.account_id, h.run AS subject, (h.state = 'settled')::integer AS expected, count(c.run) AS found
        FROM holds h LEFT JOIN charges c ON c.run = h.run AND c.kind = 'settled' GROUP BY h.account_id, h.run
    """,
    "what a budget has reserved is held by open holds that count in it": """
        SELECT b.account_id, b.budget_id || '/' || w.window_id AS subject,
               coalesce(sum(h.amount), 0) AS expected, w.reserved AS found
        FROM budget_windows w
        JOIN budgets b USING (budget_id)
        LEFT JOIN (
            SELECT unnest(windows) AS window_id, amount FROM holds WHERE state IN ('tentative', 'firm')
        ) h USING (window_id)
        GROUP BY b.account_id, b.budget_id, w.window_id
    """,
    "what a budget has spent was charged to customers and not refunded": """
        SELECT b.account_id, b.budget_id || '/' || w.window_id AS subject,
               coalesce(sum(c.paid - coalesce(r.paid, 0)), 0) + coalesce(max(p.spent), 0) AS expected,
               w.spent AS found
        FROM budget_windows w
        JOIN budgets b USING (budget_id)
        LEFT JOIN (SELECT run, unnest(windows) AS window_id FROM holds) h USING (window_id)
        LEFT JOIN (
            SELECT DISTINCT ON (run) run, amount - platform_part AS paid FROM charges
            ORDER BY run, revision DESC
        ) c USING (run)
        LEFT JOIN (
            SELECT run, sum(amount - platform_part) AS paid FROM refunds GROUP BY run
        ) r USING (run)
        LEFT JOIN (
            SELECT key::bigint AS window_id, sum(value::bigint) AS spent
            FROM period_charges, jsonb_each_text(budgets) GROUP BY 1
        ) p USING (window_id)
        GROUP BY b.account_id, b.budget_id, w.window_id
    """,
    "a hold keeps to its run's own limit, what the runs that it called have taken included": """
        SELECT account_id, run AS subject, least(amount + calls_taken, run_limit) AS expected,
               amount + calls_taken AS found
        FROM holds WHERE run_limit IS NOT NULL AND state <> 'settled'
    """,
    "a charge keeps to its run's own limit, what the runs that it called have taken included": """
        SELECT h.account_id, h.run AS subject, least(c.paid - coalesce(r.paid, 0) + h.calls_taken, h.run_limit) AS expected,
               c.paid - coalesce(r.paid, 0) + h.calls_taken AS found
        FROM holds h
        JOIN (
            SELECT DISTINCT ON (run) run, amount - platform_part AS paid FROM charges ORDER BY run, revision DESC
        ) c USING (run)
        LEFT JOIN (SELECT run, sum(amount - platform_part) AS paid FROM refunds GROUP BY run) r USING (run)
        WHERE h.run_limit IS NOT NULL
    """,
    "what called runs have taken of a hold is what it says": """
        SELECT p.account_id, p.run AS subject, coalesce(sum(c.from_parent), 0) AS expected, p.calls_taken AS found
        FROM holds p LEFT JOIN holds c ON c.parent = p.run
        WHERE p.calls_taken > 0 OR c.run IS NOT NULL
        GROUP BY p.account_id, p.run, p.calls_taken
    """,
    "an open hold of a called run is what it has taken of its parent": """
        SELECT account_id, run AS subject, from_parent AS expected, amount + calls_taken AS found
        FROM holds WHERE parent IS NOT NULL AND state IN ('tentative', 'firm')
    """,
    "a called run has its parent's account, and counts in its parent's budgets": """
        SELECT c.account_id, c.run AS subject, 1 AS expected,
               (p.account_id = c.account_id AND p.windows <@ c.windows)::integer AS found
        FROM holds c JOIN holds p ON p.run = c.parent
        WHERE c.state IN ('tentative', 'firm') AND p.state = 'firm'
    """,
    "what is left of an account's grants is its promotional credit": """
        SELECT a.account_id, a.account_id AS subject, coalesce(sum(g.remaining), 0) AS expected,
               a.promotional AS found
        FROM accounts a LEFT JOIN promotions g USING (account_id) GROUP BY a.account_id
    """,
    "what was spent of a grant is what runs have used of it": """
        SELECT g.account_id, g.promotion_id AS subject, coalesce(sum(u.amount), 0) AS expected,
               g.amount - g.remaining - g.expired AS found
        FROM promotions g LEFT JOIN promotion_uses u USING (promotion_id)
        GROUP BY g.account_id, g.promotion_id
    """,
    "what a run has used of grants is what its charge says": """
        SELECT c.account_id, c.run AS subject, c.part - coalesce(r.part, 0) AS expected,
               coalesce(u.amount, 0) AS found
        FROM (
            SELECT DISTINCT ON (run) account_id, run, promotional_part AS part
            FROM charges ORDER BY run, revision DESC
        ) c
        LEFT JOIN (SELECT run, sum(promotional_part) AS part FROM refunds GROUP BY run) r USING (run)
        LEFT JOIN (SELECT run, sum(amount) AS amount FROM promotion_uses GROUP BY run) u USING (run)
    """,
    "what an account's promotions cost is what was granted and has not expired": """
        SELECT a.account_id, a.account_id AS subject, coalesce(g.cost, 0) AS expected,
               coalesce(e.cost, 0) AS found
        FROM accounts a
        LEFT JOIN (
            SELECT account_id, sum(amount - expired) AS cost FROM promotions GROUP BY account_id
        ) g USING (account_id)
        LEFT JOIN (
            SELECT account_id, -sum(amount) AS cost FROM entries WHERE ledger = 'promotion_cost'
            GROUP BY account_id
        ) e USING (account_id)
    """,
}

_PAYERS = {
    "customer_credit": "credit_part",
    "receivable": "receivable_part",
    "platform_cost": "platform_part",
}


def _paid(ledger: str, part: str) -> str:
    return f"""
        SELECT c.account_id, c.run AS subject, c.part - coalesce(r.part, 0) AS expected,
               coalesce(e.amount, 0) AS found
        FROM (
            SELECT DISTINCT ON (run) account_id, run, {part} AS part FROM charges ORDER BY run, revision DESC
        ) c
        LEFT JOIN (SELECT run, sum({part}) AS part FROM refunds GROUP BY run) r USING (run)
        LEFT JOIN (
            SELECT p.run, -sum(e.amount) AS amount FROM postings p JOIN entries e USING (posting_id)
            WHERE e.ledger = '{ledger}' AND p.run IS NOT NULL GROUP BY p.run
        ) e USING (run)
    """


RULES |= {
    "a period's runs add up to what it says of them": """
        SELECT p.account_id, p.period_id || ' ' || x.what AS subject, x.expected, x.found
        FROM periods p
        LEFT JOIN (
            SELECT period_id, count(*) AS runs, sum(quantity) AS quantity, sum(events) AS events,
                   sum(amount) AS amount
            FROM period_runs GROUP BY period_id
        ) r USING (period_id),
        LATERAL (VALUES
            ('runs', coalesce(r.runs, 0), p.runs),
            ('quantity in 10^-18', coalesce(r.quantity, 0) * 10^18, p.run_quantity * 10^18),
            ('events', coalesce(r.events, 0), p.run_events),
            ('amount', coalesce(r.amount, 0), p.run_amount)
        ) AS x (what, expected, found)
    """,
    "a period's own charges add up to what it says of them": """
        SELECT p.account_id, p.period_id || ' ' || x.what AS subject, x.expected, x.found
        FROM periods p
        LEFT JOIN (
            SELECT period_id, count(*) AS charges, sum(amount) AS amount FROM period_charges GROUP BY period_id
        ) c USING (period_id),
        LATERAL (VALUES
            ('postings', coalesce(c.charges, 0), p.postings::bigint),
            ('amount', coalesce(c.amount, 0), p.own_amount::numeric)
        ) AS x (what, expected, found)
    """,
    "a posting of a period is what its charge says": """
        SELECT c.account_id, c.period_id || ':' || c.number || ' ' || x.ledger AS subject, x.part AS expected,
               -coalesce(e.amount, 0) AS found
        FROM period_charges c
        CROSS JOIN LATERAL (VALUES
            ('customer_credit', c.credit_part), ('receivable', c.receivable_part), ('platform_cost', c.platform_part)
        ) AS x (ledger, part)
        LEFT JOIN postings p ON p.cause = c.period_id || ':' || c.number
            AND p.kind IN ('period_charge', 'period_adjustment')
        LEFT JOIN entries e ON e.posting_id = p.posting_id AND e.ledger = x.ledger
    """,
    "what a period has used of grants is what its charges say": """
        SELECT p.account_id, p.period_id AS subject, coalesce(c.part, 0) AS expected,
               coalesce(u.amount, 0) AS found
        FROM periods p
        LEFT JOIN (
            SELECT period_id, sum(promotional_part) AS part FROM period_charges GROUP BY period_id
        ) c USING (period_id)
        LEFT JOIN (SELECT run, sum(amount) AS amount FROM promotion_uses GROUP BY run) u ON u.run = p.period_id
    """,
}

RULES |= {
    f"what a run has taken of {ledger} is what its charge says": _paid(ledger, part)
    for ledger, part in _PAYERS.items()
}
