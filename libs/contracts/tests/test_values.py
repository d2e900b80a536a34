"""Money, ids and subjects."""

from decimal import Decimal

import msgspec
import pytest
from agora_contracts import ids, money, subjects
from agora_contracts.catalog import ChargePolicy, Slug, Version
from agora_contracts.problems import PROBLEMS, TYPE_PREFIX, AgoraError, FieldError, Problem, from_problem
from hypothesis import given
from hypothesis import strategies as st

AMOUNTS = st.integers(min_value=-money.MAX_MICRO, max_value=money.MAX_MICRO)


@given(AMOUNTS)
def test_money_survives_its_public_form(amount: int):
    """
    An amount written for the public and read back is the same to the micro-unit, up to what a column holds.
    """
    shown = money.to_public(money.Money(amount=amount))

    assert amount == money.from_public(shown).amount
    assert 6 == len(shown.amount.rpartition(".")[2])


@pytest.mark.parametrize("text", ["", "1.", ".5", "1e3", "NaN", "1,5", "0.1234567", " 1", "+1", "\u0661"])
def test_what_is_no_plain_amount_is_refused(text: str):
    """
    Only a plain decimal number with at most six places is an amount; the error shows one.
    """
    with pytest.raises(ValueError, match=r"such as 12\.50"):
        money.parse_amount(text)


@pytest.mark.parametrize("text", ["1" * 14, "-" + "9" * 26, "1" * 30 + ".5"])
def test_more_than_an_account_holds_is_told_as_such(text: str):
    """
    However many digits it has, an amount that is only too large is not called malformed.
    """
    with pytest.raises(ValueError, match="beyond what an account can hold"):
        money.parse_amount(text)


def test_an_amount_beyond_the_column_is_refused():
    """
    More than 64 bits is refused here and not by the database.
    """
    with pytest.raises(ValueError, match="beyond what an account can hold"):
        money.parse_amount("9999999999999")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.0000005", 0), ("0.0000015", 2), ("0.0000025", 2), ("-0.0000015", -2), ("0.5125", 512_500)],
)
def test_money_is_rounded_half_to_even(value: str, expected: int):
    """
    A half goes to the even neighbour, so that many roundings do not drift.
    """
    assert expected == money.round_to_micro(Decimal(value))


def test_a_long_amount_is_rounded_once():
    """
    An amount with more digits than Python computes with by default is not rounded to those digits first.
    """
    just_below_half = Decimal("8123456789012.0000004999999999999999999999")

    assert 8_123_456_789_012_000_000 == money.round_to_micro(just_below_half)


def test_a_derived_id_repeats():
    """
    The same parts give the same id, and parts do not run into each other.
    """
    assert ids.derived("run", "ten_1", "key") == ids.derived("run", "ten_1", "key")
    assert ids.derived("run", "ten_1", "key") != ids.derived("run", "ten_1key")
    assert ids.is_id("run", ids.derived("run", "x"))
    assert not ids.is_id("dep", ids.derived("run", "x"))


@pytest.mark.parametrize("text", ["run_", "run_xyz", "run_" + "A" * 32, "run_" + "a" * 31, "run_" + "a" * 33])
def test_a_malformed_id_is_none(text: str):
    """
    An id is its prefix and 32 hexadecimal digits in lower case.
    """
    assert not ids.is_id("run", text)


@pytest.mark.parametrize("tenant", ["", "*", ">", "a.b", "a b", "ä", "x" * 81, "a\n"])
def test_a_tenant_that_would_change_the_subject_is_refused(tenant: str):
    """
    A tenant can neither add a token to a subject nor be a wildcard.
    """
    with pytest.raises(ValueError, match="cannot stand in a subject"):
        subjects.event_subject(tenant, "execution.run.finished")


def test_the_tenant_is_read_from_a_subject():
    """
    The third token of events and live messages is the tenant.
    """
    assert "ten_1" == subjects.tenant_of(subjects.event_subject("ten_1", "billing.charge.settled"))
    assert "ten_1" == subjects.tenant_of(subjects.live_subject("ten_1", "run_1"))


@pytest.mark.parametrize("slug", PROBLEMS)
def test_an_error_survives_the_wire(slug: str):
    """
    What a service raised is raised at the asker with the same slug, fields and pause.
    """
    error = AgoraError(slug, "why", errors=[FieldError(field="/a", detail="b")], retry_after_seconds=2)

    again = from_problem(error.problem)

    assert (slug, error.problem) == (again.slug, again.problem)


def test_a_problem_of_a_newer_service_is_internal():
    """
    A slug that this version does not know becomes `internal`, and keeps its words.
    """
    newer = Problem(type=TYPE_PREFIX + "of_tomorrow", title="New", status=418, detail="why")

    assert ("internal", "why") == (from_problem(newer).slug, from_problem(newer).problem.detail)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Slug, "data-processor", ["", "-a", "a-", "a--b", "A", "a\n", "a b", "\u0661", "a" * 65]),
        (Version, "1.20.3", ["1.2", "1.2.3.4", "v1.2.3", "1.2.3\n", "\u0661.0.0", "1.2.1234567"]),
    ],
)
def test_names_of_packages_are_plain(kind: type, good: str, bad: list[str]):
    """
    A package's id and version can stand in a path: no line end, no foreign digit, no empty part.
    """
    assert good == msgspec.convert(good, kind)
    for text in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(text, kind)


@pytest.mark.parametrize("partial", ["share:1.5", "share:.5", "share:0.5\n", "half", "share:-0.1"])
def test_a_share_is_from_zero_to_one(partial: str):
    """
    A charge policy cannot ask for more than the full price.
    """
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"partial": partial}, ChargePolicy)
