"""Billing as execution sees it, answering with the contracts' messages: it can refuse, lapse and go away."""

from decimal import Decimal

from agora_contracts.billing import (
    CALLERS_ROOM,
    ConfirmHold,
    Hold,
    IncreaseHold,
    PlaceHold,
    Quantity,
    Quote,
    QuoteLine,
    QuoteRun,
)
from agora_contracts.money import Money, round_to_micro
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.rentals import CheckRental, RentalCheck
from agora_kit.broker import Broker

UNIT_PRICE = Decimal("0.01")


class Billing:
    """Billing as execution sees it: it prices, holds and confirms as it is told to.

    `refuse_holds`, `refuse_confirmations` and `refuse_rentals` are raised in the answers while they are set. With
    `calls_room`, called runs find so many micro-units in their caller's hold; of its next increase others take
    `others_take`.
    """

    def __init__(self, url: str) -> None:
        self.broker = Broker(url, "billing")
        self.refuse_holds: AgoraError | None = None
        self.refuse_confirmations: AgoraError | None = None
        self.refuse_rentals: AgoraError | None = None
        self.checked: list[CheckRental] = []
        self.refuse_increases: AgoraError | None = None
        self.refuse_quotes: AgoraError | None = None
        self.placed: list[PlaceHold] = []
        self.increased: dict[str, IncreaseHold] = {}
        self.called: set[str] = set()
        self.calls_room: int | None = None
        self.others_take = 0
        self.confirmed: list[str] = []
        self.broker.answer(PlaceHold, self._place)
        self.broker.answer(ConfirmHold, self._confirm)
        self.broker.answer(IncreaseHold, self._increase)
        self.broker.answer(QuoteRun, self._quote)
        self.broker.answer(CheckRental, self._check)

    async def _place(self, command: PlaceHold) -> Hold:
        self.placed.append(command)
        if self.refuse_holds is not None:
            raise self.refuse_holds
        quote = quoted(command.price_version, command.basis, command.estimates)
        if command.parent is not None:
            self.called.add(command.run)
            self._take(quote.amount.amount)
        return Hold(run=command.run, epoch=1, state="tentative", amount=quote.amount, quote=quote)

    def _take(self, amount: int) -> None:
        if self.calls_room is None:
            return
        if self.calls_room < amount:
            fault = FieldError(field=CALLERS_ROOM, detail=f"has {self.calls_room} left")
            raise AgoraError("budget_exhausted", "too little is left for calls", errors=[fault])
        self.calls_room -= amount

    async def _confirm(self, command: ConfirmHold) -> Hold:
        self.confirmed.append(command.run)
        if self.refuse_confirmations is not None:
            raise self.refuse_confirmations
        quote = quoted("price", "task", [])
        return Hold(run=command.run, epoch=1, state="firm", amount=quote.amount, quote=quote)

    async def _increase(self, command: IncreaseHold) -> Hold:
        if self.refuse_increases is not None:
            raise self.refuse_increases
        if command.meter == "agents.cost" and self.calls_room is not None:
            self.calls_room += command.by.amount - self.others_take
            self.others_take = 0
        elif command.run in self.called:
            self._take(command.by.amount)
        self.increased[command.run] = command
        quote = quoted("price", "task", [])
        return Hold(run=command.run, epoch=1, state="firm", amount=command.by, quote=quote)

    async def _check(self, command: CheckRental) -> RentalCheck:
        self.checked.append(command)
        if self.refuse_rentals is not None:
            raise self.refuse_rentals
        return RentalCheck(price_version=command.price_version, amount=Money(amount=1))

    async def _quote(self, query: QuoteRun) -> Quote:
        if self.refuse_quotes is not None:
            raise self.refuse_quotes
        return quoted(query.price_version, query.basis, query.estimates)


def quoted(price_version: str, basis: str, estimates: list[Quantity]) -> Quote:
    """A quote: model costs as they are, everything else at the unit price."""
    lines = []
    for one in estimates:
        price = Decimal(1) if one.meter == "model.cost" else UNIT_PRICE
        amount = one.quantity * price
        line = QuoteLine(
            meter=one.meter, description=one.meter, quantity=one.quantity, unit_price=price, amount=amount
        )
        lines.append(line)
    total = round_to_micro(sum((line.amount for line in lines), Decimal(0)))
    return Quote(
        price_version=price_version, basis=basis, lines=lines, amount=Money(amount=total), policy="in full"
    )
