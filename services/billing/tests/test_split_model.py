"""Who earns a charge: worked examples, and what holds whatever happens to a run's charge."""

from decimal import Decimal
from fractions import Fraction

import pytest
from agora_billing.charges.split import change, earned, round_half_even
from agora_billing.ledger.model import Ledger
from agora_contracts.billing import QuoteLine
from hypothesis import given
from hypothesis import strategies as st

AMOUNTS = st.integers(min_value=0, max_value=10**9)
SHARES = st.decimals(min_value=0, max_value=1, places=6)


def lines(work: str = "0", model: str = "0", own_key: str = "0") -> list[QuoteLine]:
    """Lines of what work, model calls and the fee for the customer's own key come to."""
    return [
        QuoteLine(
            meter=meter,
            description="",
            quantity=Decimal(1),
            unit_price=Decimal(amount),
            amount=Decimal(amount),
        )
        for meter, amount in (("tasks", work), ("model.cost", model), ("model.cost.own", own_key))
        if Decimal(amount)
    ]


@pytest.mark.parametrize(
    ("amount", "of", "share", "refunded", "expected"),
    [
        # the platform's own package: all work is revenue, model calls are paid back
        (1_000_000, {"work": "1"}, None, 0, {"revenue": 1_000_000}),
        (1_020_000, {"work": "1", "model": "0.02"}, None, 0, {"revenue": 1_000_000, "model_cost": 20_000}),
        (20_000, {"model": "0.02"}, None, 0, {"model_cost": 20_000}),
        (1_000_000, {"work": "1"}, None, 400_000, {"revenue": 1_000_000, "refunds": -400_000}),
        # an author's package
        (1_000_000, {"work": "1"}, "0.7", 0, {"author_earnings": 700_000, "platform_fee": 300_000}),
        (
            1_020_000, {"work": "1", "model": "0.02"}, "0.7", 0,
            {"author_earnings": 700_000, "platform_fee": 300_000, "model_cost": 20_000},
        ),
        (1_000_000, {"work": "1"}, "0", 0, {"platform_fee": 1_000_000}),
        (1_000_000, {"work": "1"}, "1", 0, {"author_earnings": 1_000_000}),
        # half a micro-unit each: both are rounded to even, the rest is rounding
        (1, {"work": "0.000001"}, "0.5", 0, {"rounding": 1}),
        (3, {"work": "0.000003"}, "0.5", 0, {"author_earnings": 2, "platform_fee": 2, "rounding": -1}),
        (5, {"work": "0.000005"}, "0.5", 0, {"author_earnings": 2, "platform_fee": 2, "rounding": 1}),
        # a refund: the author gives back in proportion, the platform the rest
        (
            1_000_000, {"work": "1"}, "0.7", 500_000,
            {"author_earnings": 350_000, "platform_fee": 300_000, "refunds": -150_000},
        ),
        (1_000_000, {"work": "1"}, "0.7", 1_000_000, {"platform_fee": 300_000, "refunds": -300_000}),
        # the customer's own key: the fee is the platform's, the author has no part of it
        (1_010_000, {"work": "1", "own_key": "0.01"}, "0.7", 0,
         {"author_earnings": 700_000, "platform_fee": 310_000}),
    ],
)  # fmt: skip
def test_what_a_charge_leaves_on_each_ledger(amount, of, share, refunded, expected):
    """
    Work, model calls and fees go to their ledgers; what is rounded away is booked as rounding.
    """
    books = earned(amount, lines(**of), None if share is None else Decimal(share), refunded)

    assert expected == {str(ledger): left for ledger, left in books.items()}


@given(
    work=AMOUNTS, model=AMOUNTS, fee=AMOUNTS, share=st.none() | SHARES, part=st.fractions(0, 1), less=AMOUNTS
)
def test_nothing_is_lost_in_the_division(work, model, fee, share, part, less):
    """
    What is left on the ledgers is the charge less its refunds, to the micro-unit; an author never has less
    than nothing, nor more than the share, and no more than a micro-unit is rounding.
    """
    amount = max(work + model + fee - less, 0)
    refunded = int(amount * part)
    of = lines(str(Decimal(work) / 10**6), str(Decimal(model) / 10**6), str(Decimal(fee) / 10**6))

    books = earned(amount, of, share, refunded)

    assert amount - refunded == sum(books.values())
    author = books.get(Ledger.AUTHOR_EARNINGS, 0)
    assert 0 <= author <= Fraction(share or 0) * work + Fraction(1, 2)
    assert abs(books.get(Ledger.ROUNDING, 0)) <= 1
    if refunded == amount:
        assert author == 0


@given(
    share=SHARES,
    charges=st.lists(AMOUNTS, min_size=1, max_size=4),
    parts=st.lists(st.fractions(0, 1), max_size=4),
)
def test_the_way_there_does_not_matter(share, charges, parts):
    """
    Corrections and refunds in any order leave what the last charge and the sum of the refunds say; the
    postings on the way are the differences, so that they add up to it.
    """
    books: dict[Ledger, int] = {}
    sums: dict[Ledger, int] = {}
    amount = refunded = 0
    of: list[QuoteLine] = []
    for index in range(max(len(charges), len(parts))):
        if index < len(charges):
            amount = max(charges[index], refunded)
            of = lines(str(Decimal(charges[index]) / 10**6))
        if index < len(parts):
            refunded += int((amount - refunded) * parts[index])
        after = earned(amount, of, share, refunded)
        for ledger, moved in change(books, after).items():
            sums[ledger] = sums.get(ledger, 0) + moved
        books = after

    assert earned(amount, of, share, refunded) == {ledger: left for ledger, left in sums.items() if left}


@given(dividend=st.integers(0, 10**18), divisor=st.integers(1, 10**12))
def test_rounding_is_half_to_even(dividend, divisor):
    """
    The quotient is what exact fractions round to.
    """
    assert round(Fraction(dividend, divisor)) == round_half_even(dividend, divisor)
