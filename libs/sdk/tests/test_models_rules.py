"""The rules of asking models: circuit breakers, prices with dates, bounds."""

from datetime import UTC, datetime
from decimal import Decimal

import agora
import msgspec
import pytest
from agora.models import breaker, routing
from agora.models.asking import Question
from agora.models.breaker import FAILURES_MAX, PAUSE_SECONDS, Breakers
from agora.models.pricing import (
    DatedPrice,
    ModelPrice,
    PriceBook,
    UnknownModelPrice,
    tokens_at_most,
    worst_case,
)


class Money(msgspec.Struct):
    """What a tool takes."""

    amount: int


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_probe() -> None:
    """
    A model that fails again and again is left alone; after the pause one call tries it, and the others wait for that.
    """
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(FAILURES_MAX):
        assert breakers.admits("m")
        breakers.failed("m")

    assert not breakers.admits("m")
    clock.now = PAUSE_SECONDS
    assert [True, False] == [breakers.admits("m"), breakers.admits("m")]
    breakers.succeeded("m")
    assert breakers.admits("m")


def test_a_failed_probe_doubles_the_pause() -> None:
    """
    Each probe that fails makes the next pause twice as long.
    """
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(FAILURES_MAX):
        breakers.failed("m")
    clock.now = PAUSE_SECONDS
    assert breakers.admits("m")
    breakers.failed("m")

    clock.now += PAUSE_SECONDS
    assert not breakers.admits("m")
    clock.now += PAUSE_SECONDS
    assert breakers.admits("m")


def test_a_success_between_failures_keeps_the_circuit_closed() -> None:
    """
    Only failures in a row count.
    """
    breakers = Breakers(Clock())
    for _ in range(3 * FAILURES_MAX):
        breakers.failed("m")
        breakers.succeeded("m")

    assert breakers.admits("m")


def test_a_probe_that_did_not_come_about_lets_another_try() -> None:
    """
    A probe that is withdrawn does not keep the circuit waiting for its answer.
    """
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(FAILURES_MAX):
        breakers.failed("m")
    clock.now = PAUSE_SECONDS
    assert breakers.admits("m")
    breakers.withdrew("m")

    assert breakers.admits("m")


def test_a_vendor_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    """
    One refusal with a time is enough for that; it says nothing of the model beyond it.
    """
    clock = Clock()
    breakers = Breakers(clock)
    breakers.failed("m", 7.0)

    assert not breakers.admits("m")
    assert 7.0 == breakers.rests_seconds("m")
    clock.now = 7.0
    assert [True, True] == [breakers.admits("m") for _ in range(2)]
    assert 0 == breakers.rests_seconds("m")


def test_only_so_many_failing_models_are_remembered() -> None:
    """
    Whoever invents names of models fills no memory.
    """
    breakers = Breakers(Clock())
    for number in range(breaker._CIRCUITS_MAX + 10):
        breakers.failed(f"m{number}", 7.0)

    assert (True, False) == (breakers.admits("m0"), breakers.admits(f"m{breaker._CIRCUITS_MAX}"))
    latencies = routing.Latencies()
    for number in range(routing._LATENCIES_MAX + 10):
        latencies.took(f"m{number}", 1.0)
    assert (0.0, 1.0) == (latencies.of("m0"), latencies.of(f"m{routing._LATENCIES_MAX}"))


def dated(model: str, day: int, price: str) -> DatedPrice:
    """A price from a day of January 2026 on."""
    at = datetime(2026, 1, day, tzinfo=UTC)
    return DatedPrice(model=model, effective_at=at, price=ModelPrice(input=Decimal(price), output=Decimal(0)))


def test_the_price_that_holds_is_the_latest_that_has_begun() -> None:
    """
    A price holds from its moment until the next one's; a vendor's `*` serves what has none of its own.
    """
    book = PriceBook([dated("v:m", 10, "2"), dated("v:m", 5, "1"), dated("v:*", 1, "9")])

    def price(model: str, day: int) -> Decimal:
        return book.price_of(model, datetime(2026, 1, day, tzinfo=UTC)).input

    assert [9, 1, 1, 2, 9] == [
        price("v:m", 4),
        price("v:m", 5),
        price("v:m", 9),
        price("v:m", 10),
        price("v:x", 2),
    ]
    with pytest.raises(UnknownModelPrice, match="model-prices"):
        price("w:m", 10)


def test_the_bound_counts_what_a_vendor_says_to_its_model_of_tools() -> None:
    """
    Where tools are offered, a vendor may add a prompt of its own.
    """
    pay = agora.ToolOffer(name="pay", description="Pay.", arguments=Money)
    asked = [agora.Message(role="user", content="hello")]
    plain = Question(messages=asked, max_tokens=10)
    offering = Question(messages=asked, max_tokens=10, offered={"pay": pay})

    assert offering.input_tokens_at_most() - plain.input_tokens_at_most() > 530 + len("pay")


def test_the_bound_counts_images_sound_and_tools() -> None:
    """
    What a call sends besides text is counted at the most that a vendor may count for it.
    """
    seen = agora.Message(role="user", content=[agora.Image("a"), agora.Audio("b")])
    bound = tokens_at_most([seen], {"b": 16_000}, extra="x" * 100, image_tokens=5_000)

    assert 5_000 + 1_000 + 100 <= bound <= 6_200
    price = ModelPrice(input=Decimal(1), output=Decimal(0), audio_input=Decimal(40))
    assert 1_000 * 40 == worst_case(price, 1_000, 10, audio_tokens=1_000).amount
