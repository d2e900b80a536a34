"""What a model call costs, and the most that it can cost, from the table in prices.toml."""

import datetime
import tomllib
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from functools import cache
from importlib import resources

import msgspec
from agora_contracts.money import MICRO, Money, round_to_micro

from agora.errors import ModelUnavailable
from agora.ports import Message

_MILLION = Decimal(1_000_000)
MESSAGE_OVERHEAD_TOKENS = 16
"""More than any vendor adds around one message (roles, separators)."""


class UnknownModelPrice(ModelUnavailable):
    """The model is not in prices.toml, so what a call may cost cannot be said."""


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens; the `_above` prices hold for requests longer than `above_input_tokens`."""

    input: Decimal
    output: Decimal
    above_input_tokens: int | None = None
    input_above: Decimal | None = None
    output_above: Decimal | None = None

    def exact(self, input_tokens: int, output_tokens: int) -> Decimal:
        """USD for so many tokens, unrounded."""
        long = self.above_input_tokens is not None and input_tokens > self.above_input_tokens
        input_price = self.input_above if long and self.input_above is not None else self.input
        output_price = self.output_above if long and self.output_above is not None else self.output
        return (input_price * input_tokens + output_price * output_tokens) / _MILLION


class PriceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All known prices, and the day they were read from the vendors' lists."""

    effective: datetime.date
    models: dict[str, ModelPrice]


@cache
def price_table() -> PriceTable:
    """The table that comes with this package."""
    text = resources.files("agora.models").joinpath("prices.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), PriceTable)


def price_of(model: str) -> ModelPrice:
    """The price of `vendor:model`; a vendor's `*` stands for all of its models that are not listed.

    Raises:
        UnknownModelPrice: neither is listed.
    """
    known = price_table().models
    vendor = model.partition(":")[0]
    price = known.get(model) or known.get(f"{vendor}:*")
    if price is None:
        raise UnknownModelPrice(
            f"The price of the model {model!r} is not known. Add it to agora/models/prices.toml, or choose "
            f"one of: {', '.join(sorted(known))}."
        )
    return price


def cost_of(model: str, input_tokens: int, output_tokens: int) -> Money:
    """What a call costs, rounded once to micro-units.

    Raises:
        UnknownModelPrice: the model is not listed.
    """
    return Money(amount=round_to_micro(price_of(model).exact(input_tokens, output_tokens)))


def worst_case_cost(model: str, input_tokens: int, max_tokens: int) -> Money:
    """The most that a call can cost, rounded up: what must be set aside before it is made.

    Args:
        model: `vendor:model`.
        input_tokens: At most so many go in; see `tokens_at_most`.
        max_tokens: At most so many come out, as the call itself demands.

    Raises:
        UnknownModelPrice: the model is not listed.
    """
    exact = price_of(model).exact(input_tokens, max_tokens) * MICRO
    return Money(amount=int(exact.to_integral_value(rounding=ROUND_CEILING)))


def tokens_at_most(messages: Sequence[Message]) -> int:
    """An upper bound of the tokens in messages, true for every tokeniser in use: none makes more than one
    token of a byte."""
    return sum(len(message.content.encode()) + MESSAGE_OVERHEAD_TOKENS for message in messages)
