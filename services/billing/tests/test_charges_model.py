"""The rules of charges: what is owed by how a run ended, and who pays it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from agora_billing.accounts.model import Account
from agora_billing.charges import model
from agora_billing.charges.model import Funding
from agora_billing.holds.model import RunHold, placed
from agora_billing.prices.model import PriceVersion, quote
from agora_contracts.catalog import ChargePolicy, OfferedPrice
from agora_contracts.problems import AgoraError
from hypothesis import given
from hypothesis import strategies as st

from .conftest import hold_request, usage

NOW = datetime(2030, 1, 1, tzinfo=UTC)
AMOUNTS = st.integers(min_value=0, max_value=10**12)


def a_price(policy: ChargePolicy | None = None) -> PriceVersion:
    """Ten cents by task, model calls up to five cents."""
    return PriceVersion(
        id="price_echo",
        package="echo",
        version="1.0.0",
        currency="USD",
        prices=(OfferedPrice(basis="task", unit_price=Decimal("0.10"), meter="tasks"),),
        charges=policy or ChargePolicy(),
        model_cost_limit=Decimal("0.05"),
    )


def a_hold(price: PriceVersion, tasks: int = 10) -> RunHold:
    """A hold for some tasks."""
    request = hold_request("run_1", tasks)
    account = Account(id="acc_one", tenant="ten_one", currency="USD", credit=10**12)
    priced = quote(price, "task", request.estimates)
    lapses_at = NOW + timedelta(seconds=120)
    return placed(account, None, request, priced, "echo", (), priced.amount.amount, NOW, lapses_at)


@pytest.mark.parametrize(
    ("ended", "policy", "tasks", "model_cost", "expected"),
    [
        # succeeded, deliverable full: the listing's price for what was used
        ({}, {}, 10, None, 1_000_000),
        ({}, {}, 7, "0.02", 720_000),
        ({}, {}, 12, None, 1_200_000),
        ({}, {}, 10, "9.00", 1_050_000),  # model calls beyond the version's limit are not the customer's
        # partial: by default per delivered unit, else the share that the listing states
        ({"deliverable": "partial"}, {}, 4, "0.01", 410_000),
        ({"deliverable": "partial"}, {"partial": "share:0.5"}, 4, "0.01", 510_000),
        ({"deliverable": "partial"}, {"partial": "share:0"}, 4, None, 0),
        ({"deliverable": "partial"}, {"partial": "share:0.333333"}, None, None, 333_333),
        ({"deliverable": "partial"}, {"partial": "share:1"}, None, None, 1_000_000),
        # empty: nothing unless the policy says otherwise
        ({"deliverable": "empty"}, {}, 4, "0.01", 0),
        ({"deliverable": "empty"}, {"empty": "full"}, None, "0.01", 1_010_000),
        ({"deliverable": "empty"}, {"failed": "full"}, 4, None, 0),
        # failed and timed out
        ({"outcome": "failed", "deliverable": "partial"}, {}, 4, "0.01", 0),
        ({"outcome": "failed", "deliverable": "empty"}, {"failed": "full"}, None, None, 1_000_000),
        ({"outcome": "timed_out", "deliverable": "empty"}, {}, 4, "0.01", 0),
        ({"outcome": "timed_out", "deliverable": "empty"}, {"failed": "full"}, None, None, 1_000_000),
        ({"outcome": "failed", "deliverable": "empty", "error_code": "crash"}, {}, 4, None, 0),
        # terminated by the operator, hold lost: never the customer's
        ({"outcome": "failed", "deliverable": "empty", "error_code": "terminated"}, {"failed": "full"}, 4, None, 0),
        ({"outcome": "failed", "deliverable": "empty", "error_code": "hold_lost"}, {"failed": "full"}, 4, None, 0),
        # cancelled: pass-through cost so far, whatever the policy
        ({"outcome": "cancelled", "deliverable": "partial"}, {"partial": "share:1"}, 4, "0.02", 20_000),
        ({"outcome": "cancelled", "deliverable": "empty"}, {"empty": "full"}, 4, None, 0),
    ],
)  # fmt: skip
def test_what_a_run_owes(ended, policy, tasks, model_cost, expected):
    """
    What is owed follows the table of outcomes, deliverables and charge policies.
    """
    price = a_price(ChargePolicy(**policy))

    owed = model.owed(price, a_hold(price), usage("run_1", tasks, model_cost, **ended))

    assert expected == owed.rated.amount
    assert owed.reason


def test_a_cancelled_run_owes_at_most_its_quote():
    """
    Model calls until the cancellation are owed only up to what was quoted.
    """
    price = a_price()
    hold = a_hold(price, tasks=0)

    owed = model.owed(price, hold, usage("run_1", 4, "0.04", outcome="cancelled", deliverable="empty"))

    assert 0 == hold.quoted == owed.rated.amount


def test_usage_that_is_no_quantity_is_refused():
    """
    A negative total is an error of the sender and never a credit note.
    """
    price = a_price()

    with pytest.raises(AgoraError, match="cannot be rated"):
        model.owed(price, a_hold(price), usage("run_1", -1))


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "timed_out", "cancelled"])
@pytest.mark.parametrize("deliverable", ["full", "partial", "empty"])
@given(
    tasks=st.decimals(min_value=0, max_value=10**6, places=6),
    cost=st.decimals(min_value=0, max_value=100, places=9),
    partial=st.sampled_from(["delivered_units", "share:0.5", "share:0.123456"]),
    empty=st.sampled_from(["nothing", "full"]),
)
def test_lines_always_come_to_the_amount(outcome, deliverable, tasks, cost, partial, empty):
    """
    However a run ends, its lines add up to what is owed after one rounding, and it is never negative.
    """
    price = a_price(ChargePolicy(partial=partial, empty=empty, failed=empty))
    ended = usage("run_1", str(tasks), str(cost), outcome=outcome, deliverable=deliverable)

    rated = model.owed(price, a_hold(price), ended).rated

    assert rated.amount >= 0
    assert abs(sum((one.amount for one in rated.lines), Decimal(0)) * 10**6 - rated.amount) <= Decimal("0.5")


@given(
    credit=AMOUNTS,
    promotional=AMOUNTS,
    share=st.fractions(0, 1),
    owes=AMOUNTS,
    more=AMOUNTS,
    amount=AMOUNTS,
    most=st.none() | AMOUNTS,
)
def test_a_charge_is_paid_to_the_last_unit(credit, promotional, share, owes, more, amount, most):
    """
    Promotional credit pays first, then paid credit, never what others hold; then a receivable up to its limit,
    then the platform, which also bears what budgets do not let the customer pay. The parts are the whole.
    """
    account = Account(
        id="a",
        tenant="t",
        currency="USD",
        credit=credit,
        promotional=promotional,
        held=int((credit + promotional) * share),
        receivable=owes,
        receivable_limit=owes + more,
    )

    after, paid = model.take(account, amount, most)

    assert amount == paid.total
    assert min(paid.promotional, paid.credit, paid.receivable, paid.platform) >= 0
    assert most is None or paid.by_customer <= most
    assert 0 <= after.held <= after.credit + after.promotional
    assert 0 <= after.receivable <= after.receivable_limit
    assert (promotional - paid.promotional, credit - paid.credit, owes + paid.receivable) == (
        after.promotional,
        after.credit,
        after.receivable,
    )
    assert paid.credit == 0 or after.promotional == 0
    assert paid.receivable == 0 or after.available == 0
    full = after.available == 0 and after.receivable == after.receivable_limit
    assert paid.platform == 0 or full or paid.by_customer == most


@given(
    credit=AMOUNTS,
    promotional=AMOUNTS,
    limit=AMOUNTS,
    amount=AMOUNTS,
    steps=st.lists(st.tuples(st.sampled_from(["top up", "give back", "charge", "owe"]), AMOUNTS), max_size=6),
)
def test_what_is_given_back_returns_to_who_paid(credit, promotional, limit, amount, steps):
    """
    A charge that shrinks gives back to the platform first, then off the receivable, then as paid credit (also
    for a receivable that was paid meanwhile), then as promotional credit, whatever happens in between: it grows
    again, top-ups pay what is owed, other runs owe. Nothing is lost, nothing given back twice.
    """
    account = Account(
        id="a", tenant="t", currency="USD", credit=credit, promotional=promotional, receivable_limit=limit
    )
    account, paid = model.take(account, amount)
    own = account.credit + account.promotional - account.receivable
    for what, size in steps:
        before = account
        if what == "top up":
            account, _ = account.top_up(size)
            own += size
        elif what == "charge":
            account, change = model.take(account, size)
            paid = paid.plus(change)
            own -= change.by_customer
        elif what == "owe":
            account, change = model.take(account, size)  # another run's
            own -= change.by_customer
        else:
            size = min(size, paid.total)
            account, change = model.return_to(account, paid, size)
            assert -size == change.total
            assert change.platform == -min(size, paid.platform)
            assert account.credit >= before.credit and account.promotional >= before.promotional
            paid = paid.plus(change)
            own -= change.by_customer
            assert change.promotional == 0 or paid.platform == paid.credit + paid.receivable == 0
        assert min(paid.promotional, paid.receivable, paid.platform, paid.credit + paid.receivable) >= 0
        assert own == account.credit + account.promotional - account.receivable
        assert 0 <= account.receivable <= account.receivable_limit
    account, change = model.return_to(account, paid, paid.total)
    assert 0 == paid.plus(change).total == paid.plus(change).platform == paid.plus(change).promotional


def test_the_explanation_says_what_differs_from_the_quote():
    """
    One sentence tells what was used of what was quoted, what went back and who bears the rest.
    """
    price = a_price()
    hold = a_hold(price)
    owed = model.owed(price, hold, usage("run_1", 4, deliverable="partial"))

    said = model.explain(hold, owed, Funding(credit=400_000), 600_000, None)

    assert (
        "0.40 USD charged of 1.00 USD quoted: delivered in part, for the units used "
        "(tasks: 4 of 10 quoted); 0.60 USD went back to the account."
    ) == said


def test_the_explanation_says_what_the_account_could_not_pay():
    """
    What went beyond the credit is named, by who bears it; so is what was corrected.
    """
    price = a_price()
    hold = a_hold(price)
    owed = model.owed(price, hold, usage("run_1", 15))

    said = model.explain(hold, owed, Funding(credit=10**6, receivable=300_000, platform=200_000), 0, 10**6)

    assert "corrected from 1.00 USD; 0.30 USD went beyond the credit and is owed" in said
    assert said.endswith("the platform bears 0.20 USD.")
