"""A run's own limit, partial holds, closed accounts, and many who spend on one budget at once."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal

import pytest
from agora_billing.accounts import service as accounts
from agora_billing.app import build
from agora_billing.audit.service import verify
from agora_billing.budgets import service as budgets
from agora_billing.holds.service import Holds
from agora_billing.prices import service as price_service
from agora_billing.prices.service import Prices
from agora_billing.settings import BillingSettings
from agora_contracts.billing import (
    CloseAccount,
    ConfirmHold,
    GetBalance,
    Hold,
    IncreaseHold,
    OpenAccount,
    TopUp,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.promotions import GrantPromotion
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from .conftest import ACCOUNT, TENANT, Clock, Platform, hold_request, price_version, usage
from .money_books import envelope
from .test_budgets import CENT, a_budget, refusal, standing

CLOSE = CloseAccount(account=ACCOUNT, tenant=TENANT)


@pytest.fixture
def platform(platform: Platform) -> Platform:
    """Billing at a time at which no day or month ends soon."""
    platform.clock.to_midmonth()
    return platform


def more(cents: int, request: str = "more", **other: Any) -> IncreaseHold:
    """A request of the first run for more."""
    return IncreaseHold(run="run_1", tenant=TENANT, by=Money(amount=cents * CENT), request=request, **other)


async def held(platform: Platform) -> int:
    """What the account has set aside, in cents."""
    return int((await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).held) // CENT


# --- a run's own limit ---------------------------------------------------------------------------


async def test_a_run_beyond_its_own_limit_is_refused(platform: Platform):
    """
    A quote above the run's limit is refused with what to change, one at the limit is held.
    """
    await platform.fund(100 * CENT)

    error = await refusal(platform, hold_request("run_1", 3, run_limit=Money(amount=3 * CENT - 1)))
    hold = await platform.ask(hold_request("run_2", 3, run_limit=Money(amount=3 * CENT)))

    assert "budget_exhausted" == error.slug
    assert "max_cost" in str(error)
    assert "tentative" == hold.state
    assert 3 == await held(platform)


async def test_a_run_never_costs_more_than_its_limit(platform: Platform):
    """
    Neither increases nor a settlement beyond the hold nor a correction pass the run's own limit.
    """
    await platform.fund(100 * CENT)
    await platform.ask(hold_request("run_1", 2, run_limit=Money(amount=4 * CENT)))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))

    await platform.ask(more(2, "fits"))
    error = await refusal(platform, more(1, "one too many"))
    await platform.publish(TENANT, usage("run_1", "9"))
    charge = await platform.settled("run_1")
    await platform.publish(TENANT, usage("run_1", "11", revision=2))
    await platform.adjusted("run_1", 2)

    assert "budget_exhausted" == error.slug
    assert (9 * CENT, 5 * CENT) == (charge.amount.amount, charge.platform_cost.amount)
    assert 96 * CENT == (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).credit
    assert (await verify(platform.database)).ok


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"run_limit": Money(amount=CENT, currency="EUR")}, "currency_mismatch"),
        ({"run_limit": Money(amount=-1)}, "malformed_request"),
        ({"accept_partial": Money(amount=CENT, currency="EUR")}, "currency_mismatch"),
        ({"accept_partial": Money(amount=0)}, "malformed_request"),
    ],
)
async def test_limits_that_cannot_be_are_refused(platform: Platform, change, slug):
    """
    Another currency, a negative limit, nothing as the least part.
    """
    await platform.fund(100 * CENT)

    assert slug == (await refusal(platform, hold_request("run_1", 2, **change))).slug
    assert 0 == await held(platform)


async def test_a_customer_lets_a_limit_grow(platform: Platform):
    """
    An increase that the customer has approved lifts the run's own limit by as much, once per request; one that is refused
    leaves it as it was.
    """
    await platform.fund(6 * CENT)
    await platform.ask(hold_request("run_1", 3, run_limit=Money(amount=3 * CENT)))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    by_two = Money(amount=2 * CENT)

    beyond = await refusal(platform, more(2))
    too_much = await refusal(platform, more(9, "much", raise_limit=Money(amount=9 * CENT)))
    raised = await platform.ask(more(2, "approved", raise_limit=by_two))
    again = await platform.ask(more(2, "approved", raise_limit=by_two))
    full = await refusal(platform, more(1, "another"))
    await platform.publish(TENANT, usage("run_1", "9"))
    charged = await platform.settled("run_1")

    assert ["budget_exhausted", "insufficient_credit", "budget_exhausted"] == [
        one.slug for one in (beyond, too_much, full)
    ]
    assert "let it grow" in str(beyond)
    assert (5 * CENT, 2 * CENT) == (raised.amount.amount, raised.increased.amount)
    assert raised == again
    assert (9 * CENT, 4 * CENT) == (charged.amount.amount, charged.platform_cost.amount)
    assert (await verify(platform.database)).ok


@pytest.mark.parametrize(
    ("grows", "slug"),
    [
        (Money(amount=CENT, currency="EUR"), "currency_mismatch"),
        (Money(amount=-1), "malformed_request"),
    ],
)
async def test_a_rise_of_a_limit_that_cannot_be_is_refused(platform: Platform, grows, slug):
    """
    Another currency, or less than before.
    """
    await platform.fund(9 * CENT)
    await platform.ask(hold_request("run_1", 3, run_limit=Money(amount=9 * CENT)))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))

    assert slug == (await refusal(platform, more(1, raise_limit=grows))).slug
    assert 3 == await held(platform)


async def test_a_run_without_a_limit_gets_none_by_a_rise(platform: Platform):
    """
    Letting a limit grow that is not there changes nothing.
    """
    await platform.fund(9 * CENT)
    await platform.ask(hold_request("run_1", 3))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))

    await platform.ask(more(1, raise_limit=Money(amount=CENT)))
    grown = await platform.ask(more(5, "again"))

    assert 9 * CENT == grown.amount.amount


async def test_model_calls_may_cost_what_a_run_was_increased_by(platform: Platform):
    """
    Model calls are charged up to what the price version says and what the run was increased by; the rest is not the
    customer's. What it was increased by for calls of other agents is not for models.
    """
    await platform.fund(100 * CENT)
    runs: dict[str, list[Literal["model.cost", "agents.cost"]]] = {
        "run_1": [], "run_2": ["model.cost"], "run_3": ["agents.cost"],
    }  # fmt: skip
    for run, increases in runs.items():
        await platform.ask(hold_request(run, 1))
        await platform.ask(ConfirmHold(run=run, tenant=TENANT))
        for meter in increases:
            by = Money(amount=7 * CENT)
            await platform.ask(IncreaseHold(run=run, tenant=TENANT, by=by, request=meter, meter=meter))
        await platform.publish(TENANT, usage(run, 1, model_cost="0.10"))

    charged = [(await platform.settled(run)).amount.amount for run in runs]

    assert [6 * CENT, 11 * CENT, 6 * CENT] == charged
    assert (await verify(platform.database)).ok


# --- partial holds -------------------------------------------------------------------------------


async def test_a_partial_hold_takes_what_there_is(platform: Platform):
    """
    Where a part is accepted, credit and budgets give what they have left, at least the part; each says so.
    """
    await platform.fund(5 * CENT)
    await platform.ask(a_budget(4 * CENT))

    part = Money(amount=2 * CENT)
    by_budget = await platform.ask(hold_request("run_1", 9, accept_partial=part))
    again = await platform.ask(hold_request("run_1", 9, accept_partial=part))
    too_little = await refusal(platform, hold_request("run_2", 9, accept_partial=part))

    assert (4 * CENT, True, 9 * CENT) == (
        by_budget.amount.amount,
        by_budget.partial,
        by_budget.quote.amount.amount,
    )
    assert by_budget == again
    assert "budget_exhausted" == too_little.slug
    assert (0, 4 * CENT, 0) == await standing(platform)


async def test_a_partial_increase_happens_once(platform: Platform):
    """
    An increase that got a part gets the same part when it is asked again, and no other by another amount.
    """
    await platform.fund(5 * CENT)
    await platform.ask(hold_request("run_1", 2))
    await platform.ask(ConfirmHold(run="run_1", tenant=TENANT))
    part = Money(amount=CENT)

    first = await platform.ask(more(9, accept_partial=part))
    again = await platform.ask(more(9, accept_partial=part))
    another = await refusal(platform, more(8, accept_partial=part))
    nothing_left = await refusal(platform, more(9, "again", accept_partial=part))

    assert (5 * CENT, True) == (first.amount.amount, first.partial)
    assert first == again
    assert ["idempotency_conflict", "insufficient_credit"] == [another.slug, nothing_left.slug]
    assert 5 == await held(platform)


# --- the life of a hold and of an account --------------------------------------------------------


async def test_a_settled_hold_gives_nothing_back_a_second_time(platform: Platform):
    """
    A release after the settlement changes nothing: neither a sweep, a lapse in the way, nor the event again.
    """
    await platform.fund(10 * CENT)
    await platform.ask(a_budget(10 * CENT))
    await platform.ask(hold_request("run_1", 4))
    await platform.ask(hold_request("run_2", 4))
    await platform.publish(TENANT, usage("run_1", "4"))
    await platform.settled("run_1")
    platform.clock.ahead += timedelta(seconds=100)
    await platform.ask(ConfirmHold(run="run_2", tenant=TENANT))
    platform.clock.ahead += timedelta(days=1)

    await platform.publish(TENANT, usage("run_1", "4"))
    await platform.sweep()
    await refusal(platform, hold_request("run_3", 9))

    assert 4 == await held(platform)
    assert (4 * CENT, 4 * CENT, 2 * CENT) == await standing(platform)
    assert 1 == len(await platform.charges_of("run_1"))


async def test_an_account_with_open_holds_stays_open(platform: Platform):
    """
    Closing is refused while a run is not charged, be it held for nothing; a closed account takes nothing new.
    """
    await platform.fund(10 * CENT)
    await platform.ask(hold_request("run_1", 4))
    open_hold = await refusal(platform, CLOSE)
    await platform.publish(TENANT, usage("run_1", "4"))
    await platform.settled("run_1")
    await platform.ask(hold_request("run_2", 0))
    held_for_nothing = await refusal(platform, CLOSE)
    await platform.publish(TENANT, usage("run_2", "0"))
    await platform.settled("run_2")

    closed = await platform.ask(CLOSE)
    again = await platform.ask(CLOSE)
    grant = GrantPromotion(
        account=ACCOUNT, tenant=TENANT, amount=Money(amount=1), reference="r", reason="late"
    )
    top_up = TopUp(account=ACCOUNT, tenant=TENANT, amount=Money(amount=1), reference="late")
    refused = [await refusal(platform, one) for one in (hold_request("run_3", 1), top_up, grant, a_budget())]

    assert ["holds_open", "holds_open"] == [open_hold.slug, held_for_nothing.slug]
    assert closed.closed_at is not None
    assert (closed, 6 * CENT) == (again, closed.credit)
    assert {"account_closed"} == {error.slug for error in refused}
    assert closed == await platform.ask(OpenAccount(account=ACCOUNT, tenant=TENANT))


async def test_a_closed_account_is_still_corrected(platform: Platform):
    """
    A late correction of a run's usage is booked on a closed account, too.
    """
    await platform.fund(10 * CENT)
    await platform.ask(hold_request("run_1", 4))
    await platform.publish(TENANT, usage("run_1", "4"))
    await platform.settled("run_1")
    await platform.ask(CLOSE)

    await platform.publish(TENANT, usage("run_1", "3", revision=2))
    await platform.adjusted("run_1", 2)

    assert 7 * CENT == (await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))).credit
    assert "not_found" == (await refusal(platform, CloseAccount(account="acc_none", tenant=TENANT))).slug


# --- many at once --------------------------------------------------------------------------------


async def test_a_thousand_spend_on_one_budget_through_two_replicas(
    platform: Platform, settings: BillingSettings
):
    """
    Of a thousand runs at once, answered by two processes, a budget for 437 and a half admits exactly 437.
    """
    other = build(settings, platform.clock)
    await other.start()
    try:
        await platform.fund(2_000 * CENT)
        await platform.ask(a_budget(437 * CENT + CENT // 2))
        await platform.ask(a_budget(10**12, "bud_package", scope="package", target="echo"))
        answers = await asyncio.gather(
            *(platform.asker.ask(hold_request(f"run_{n}"), deadline_seconds=60) for n in range(1_000)),
            return_exceptions=True,
        )
    finally:
        await other.stop()

    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {"budget_exhausted"} == {getattr(error, "slug", repr(error)) for error in refused}
    assert 437 == len(answers) - len(refused)
    assert (0, 437 * CENT, CENT // 2) == await standing(platform)
    assert (0, 437 * CENT) == (await standing(platform, "bud_package"))[:2]
    assert 437 == await held(platform)
    assert (await verify(platform.database)).ok


async def test_spends_of_two_replicas_are_exact_while_runs_end(platform: Platform, settings: BillingSettings):
    """
    Holds, settlements for less, and refusals at once by two processes: what is spent and reserved adds up.
    """
    other = build(settings, platform.clock)
    await other.start()
    try:
        await platform.fund(2_000 * CENT)
        await platform.ask(a_budget(60 * CENT))

        async def spend(number: int) -> int:
            run = f"run_{number}"
            try:
                await platform.asker.ask(hold_request(run, 2), deadline_seconds=60)
            except AgoraError as error:
                assert "budget_exhausted" == error.slug
                return 0
            await platform.publish(TENANT, usage(run, "1"))
            return 1

        admitted = sum(await asyncio.gather(*(spend(number) for number in range(150))))
        await platform.until(
            lambda: platform.rows("SELECT 1 FROM charges HAVING count(*) = :runs", runs=admitted)
        )
    finally:
        await other.stop()

    assert 30 <= admitted <= 60
    assert (admitted * CENT, 0, (60 - admitted) * CENT) == await standing(platform)
    assert (await verify(platform.database)).ok


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    limits=st.lists(st.integers(min_value=0, max_value=12), min_size=1, max_size=3),
    credit=st.integers(min_value=1, max_value=15),
    asked=st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=12),
)
def test_nothing_that_fits_is_refused(billing_books, limits, credit, asked):
    """
    Whatever limits, credit and requests: exactly those are refused that do not fit when their turn comes, and what
    is reserved never exceeds the least of the limits.
    """
    room = min([credit, *limits])
    expected = []
    for tasks in asked:
        fits = tasks <= room
        expected.append(fits)
        room -= tasks if fits else 0

    assert expected == billing_books.hold_one_after_the_other(limits, credit, asked)


class Books:
    """Billing's holds on one database, called without a broker, in an event loop of their own."""

    def __init__(self, urls: DatabaseUrls, clock: Clock) -> None:
        self._runner = asyncio.Runner()
        self._database = Database(urls.app, urls.system, pool_size=2)
        self._holds = Holds(self._database, Prices(self._database), clock, timedelta(seconds=120))
        self._clock = clock
        self._accounts = 0
        self._runner.run(self._pin())

    async def _pin(self) -> None:
        async with self._database.system() as connection:
            await price_service.pin(connection, [envelope(PLATFORM_TENANT, price_version())])

    def hold_one_after_the_other(self, limits: list[int], credit: int, asked: list[int]) -> list[bool]:
        """Open an account with budgets, submit all requests in one go, and say which were admitted."""
        return self._runner.run(self._hold(limits, credit, asked))

    async def _hold(self, limits: list[int], credit: int, asked: list[int]) -> list[bool]:
        self._accounts += 1
        account = f"acc_{self._accounts}"
        async with self._database.transaction(TENANT) as connection:
            now = self._clock()
            await accounts.open_account(connection, OpenAccount(account=account, tenant=TENANT), now)
            top_up = TopUp(account=account, tenant=TENANT, amount=Money(amount=credit * CENT), reference="r")
            await accounts.top_up(connection, top_up, now)
            for number, limit in enumerate(limits):
                made = a_budget(limit * CENT, f"bud_{self._accounts}_{number}", account=account)
                await budgets.create(connection, made, now)
        answers = await asyncio.gather(
            *(
                self._holds.place(hold_request(f"run_{self._accounts}_{number}", tasks, account=account))
                for number, tasks in enumerate(asked)
            ),
            return_exceptions=True,
        )
        async with self._database.system() as connection:
            over = await connection.execute(
                text(
                    "SELECT count(*) FROM budget_windows w JOIN budgets b USING (budget_id) "
                    "WHERE w.reserved > b.amount"
                )
            )
            assert 0 == over.scalar_one()
        return [isinstance(answer, Hold) for answer in answers]

    def close(self) -> None:
        """Give the connections back."""
        self._runner.run(self._database.close())
        self._runner.close()


@pytest.fixture
def billing_books(billing_urls: DatabaseUrls) -> Iterator[Books]:
    """Billing's holds on a fresh database."""
    books = Books(billing_urls, Clock())
    yield books
    books.close()
