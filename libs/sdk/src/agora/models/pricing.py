"""What a model call costs, and the most that it can cost: prices by model and by the day from which they hold."""

import bisect
import datetime
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from functools import cache
from importlib import resources

import msgspec
from agora_contracts.money import MICRO, Money, round_to_micro

from agora.errors import ModelUnavailable
from agora.messages import Audio, Image, Message, Text

_MILLION = Decimal(1_000_000)
MESSAGE_OVERHEAD_TOKENS = 16
"""More than any vendor adds around one message (roles, separators)."""

TOOLS_OVERHEAD_TOKENS = 1_000
"""More than any vendor tells its model of its own where tools are offered: Anthropic's lists say up to 530 tokens."""

IMAGE_TOKENS_MAX = 50_000
"""More than any vendor counts for one image: the small models of OpenAI count the most, up to 48,169."""

AUDIO_BYTES_PER_TOKEN = 16
"""No vendor counts more than 32 tokens for a second of sound, and no format takes less than 600 bytes for it."""


class UnknownModelPrice(ModelUnavailable):
    """The model has no known price, so what a call may cost cannot be said."""


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens.

    The `_above` prices hold for requests longer than `above_input_tokens`. `cached_input` is what the vendor asks for
    input that it had in its own cache, `audio_input` for sound; without them these cost as `input`. `image_tokens` is
    the most that it counts for one image.
    """

    input: Decimal
    output: Decimal
    above_input_tokens: int | None = None
    input_above: Decimal | None = None
    output_above: Decimal | None = None
    cached_input: Decimal | None = None
    audio_input: Decimal | None = None
    image_tokens: int = IMAGE_TOKENS_MAX

    def exact(
        self, input_tokens: int, output_tokens: int, *, cached_tokens: int = 0, audio_tokens: int = 0
    ) -> Decimal:
        """USD for so many tokens, unrounded; cached and audio tokens are part of the input's."""
        long = self.above_input_tokens is not None and input_tokens > self.above_input_tokens
        input_price = self.input_above if long and self.input_above is not None else self.input
        output_price = self.output_above if long and self.output_above is not None else self.output
        cached_price = input_price if self.cached_input is None else min(self.cached_input, input_price)
        audio_price = input_price if self.audio_input is None else self.audio_input
        cached = min(cached_tokens, input_tokens)
        audio = min(audio_tokens, input_tokens - cached)
        plain = input_tokens - cached - audio
        dollars = (
            input_price * plain + cached_price * cached + audio_price * audio + output_price * output_tokens
        )
        return dollars / _MILLION


class PriceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices that come with this package, and the day they were read from the vendors' lists."""

    effective: datetime.date
    models: dict[str, ModelPrice]


class DatedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price of `vendor:model` from a moment on, until a later one takes its place."""

    model: str
    effective_at: datetime.datetime
    price: ModelPrice


class PriceBook:
    """Prices by model and moment. `vendor:*` stands for all of a vendor's models that are not listed."""

    def __init__(self, prices: Iterable[DatedPrice]) -> None:
        by_model: dict[str, list[DatedPrice]] = {}
        for one in sorted(prices, key=lambda one: one.effective_at):
            by_model.setdefault(one.model, []).append(one)
        self._by_model = by_model

    @property
    def models(self) -> list[str]:
        """Every model that has, had or will have a price, by name."""
        return sorted(self._by_model)

    def find(self, model: str, at: datetime.datetime) -> DatedPrice | None:
        """The price that holds for a model at a moment."""
        for name in (model, f"{model.partition(':')[0]}:*"):
            dated = self._by_model.get(name, [])
            place = bisect.bisect_right(dated, at, key=lambda one: one.effective_at)
            if place:
                return dated[place - 1]
        return None

    def price_of(self, model: str, at: datetime.datetime) -> ModelPrice:
        """The price of `vendor:model` at a moment.

        Raises:
            UnknownModelPrice: it has none then.
        """
        found = self.find(model, at)
        if found is None:
            raise UnknownModelPrice(
                f"The price of the model {model!r} is not known, so what a call may cost cannot be set aside. Set it "
                f"(PUT /api/v1/operator/model-prices; alone: agora/models/prices.toml), or choose one of: "
                f"{', '.join(self.models)}."
            )
        return found.price


@cache
def price_table() -> PriceTable:
    """The table that comes with this package."""
    text = resources.files("agora.models").joinpath("prices.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), PriceTable)


@cache
def shipped_prices() -> tuple[DatedPrice, ...]:
    """The same as dated prices. They are the oldest that are known, so they hold from the beginning."""
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return tuple(
        DatedPrice(model=model, effective_at=start, price=price)
        for model, price in price_table().models.items()
    )


@cache
def _shipped_book() -> PriceBook:
    return PriceBook(shipped_prices())


def shipped_price(model: str) -> ModelPrice:
    """The price of `vendor:model` in the table that comes with this package.

    Raises:
        UnknownModelPrice: it is not listed.
    """
    return _shipped_book().price_of(model, datetime.datetime.now(datetime.UTC))


def cost(price: ModelPrice, input_tokens: int, output_tokens: int, **details: int) -> Money:
    """What a call costs, rounded once to micro-units; `details` as `ModelPrice.exact` takes them."""
    return Money(amount=round_to_micro(price.exact(input_tokens, output_tokens, **details)))


def worst_case(price: ModelPrice, input_tokens: int, max_tokens: int, audio_tokens: int = 0) -> Money:
    """The most that a call can cost, rounded up: what must be set aside before it is made.

    Args:
        price: The model's.
        input_tokens: At most so many go in; see `tokens_at_most`.
        max_tokens: At most so many come out, as the call itself demands.
        audio_tokens: How many of the input's may be of sound.
    """
    exact = price.exact(input_tokens, max_tokens, audio_tokens=audio_tokens) * MICRO
    return Money(amount=int(exact.to_integral_value(rounding=ROUND_CEILING)))


def cost_of(model: str, input_tokens: int, output_tokens: int) -> Money:
    """What a call costs by the table that comes with this package.

    Raises:
        UnknownModelPrice: the model is not listed.
    """
    return cost(shipped_price(model), input_tokens, output_tokens)


def worst_case_cost(model: str, input_tokens: int, max_tokens: int) -> Money:
    """The most that a call can cost by the table that comes with this package.

    Raises:
        UnknownModelPrice: the model is not listed.
    """
    return worst_case(shipped_price(model), input_tokens, max_tokens)


def tokens_at_most(
    messages: Sequence[Message],
    sizes: Mapping[str, int] | None = None,
    extra: str = "",
    image_tokens: int = IMAGE_TOKENS_MAX,
) -> int:
    """An upper bound of the tokens in messages, true for every tokeniser in use: none makes more than one
    token of a byte.

    Args:
        messages: What is sent.
        sizes: The size in bytes of each file that they refer to.
        extra: What else is sent, such as descriptions of tools.
        image_tokens: The most that an image counts.
    """
    tokens = len(extra.encode())
    for message in messages:
        tokens += MESSAGE_OVERHEAD_TOKENS
        for call in message.tool_calls:
            tokens += MESSAGE_OVERHEAD_TOKENS + len(call.name) + len(msgspec.json.encode(call.arguments))
        if isinstance(message.content, str):
            tokens += len(message.content.encode())
            continue
        for part in message.content:
            match part:
                case Text():
                    tokens += len(part.text.encode())
                case Image():
                    tokens += image_tokens
                case Audio():
                    tokens += (sizes or {}).get(
                        part.file, 0
                    ) // AUDIO_BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS
    return tokens


def audio_tokens_at_most(messages: Sequence[Message], sizes: Mapping[str, int]) -> int:
    """How many of the tokens in messages may be of sound."""
    heard = [part.file for message in messages for part in message.parts if isinstance(part, Audio)]
    return sum(sizes.get(file, 0) // AUDIO_BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS for file in heard)
