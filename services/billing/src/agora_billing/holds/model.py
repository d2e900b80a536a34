"""A hold: credit of one account set aside for one run. Amounts are whole micro-units.

(none) --place--> tentative --confirm--> firm --settle--> settled
                     |    \\----------settle------------/     |
                  2 minutes                                (never again)
                     v
                   lapsed --place again or confirm, under the next epoch--> tentative or firm
"""

from copy import replace
from datetime import datetime
from typing import NamedTuple

import msgspec
from agora_contracts.billing import Hold, HoldState, IncreaseHold, PlaceHold, Quote
from agora_contracts.catalog import AGENTS_COST_METER
from agora_contracts.money import MAX_MICRO, Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import RunAccepted

from agora_billing.accounts.model import Account


class RunHold(msgspec.Struct, frozen=True, kw_only=True):
    """What is set aside for a run. A run has one hold; each time it is placed again its epoch counts up.

    `run_limit` is the most that it may ever set aside and be charged; `partial` says that the last request got less
    than it asked for. `windows` are the budget windows that it counts in, those of the moment it was placed.

    Of it the runs that it calls may take `calls_max`, and have taken `calls_taken`; it was itself carved out of the hold
    of its `parent`, of which it has taken `from_parent` (see `calls`). `models_more` is by how much it was increased for
    model calls, whose cost may be so much more than was quoted.

    Invariant: `amount` is in its account's `held`, and in `reserved` of its windows, exactly while the state is
    tentative or firm.
    """

    run: str
    tenant: str
    account: str
    epoch: int
    fingerprint: str
    state: HoldState
    currency: str
    amount: int
    quoted: int
    price_version: str
    basis: str
    deployment: str | None
    quote: Quote
    placed_at: datetime
    lapses_at: datetime
    ended_at: datetime | None = None
    package: str = ""
    api_key: str | None = None
    run_limit: int | None = None
    partial: bool = False
    windows: tuple[int, ...] = ()
    parent: str | None = None
    calls_max: int = 0
    calls_taken: int = 0
    from_parent: int = 0
    models_more: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the amount is set aside now."""
        return self.state in ("tentative", "firm")

    def has_lapsed(self, now: datetime) -> bool:
        """Whether it lapsed, also when no sweep has noticed yet."""
        return self.state == "lapsed" or (self.state == "tentative" and self.lapses_at <= now)

    @property
    def calls_left(self) -> int:
        """What the runs that it calls may still take of it."""
        return max(self.calls_max - self.calls_taken, 0)

    @property
    def own_limit(self) -> int | None:
        """What of the run's own limit its own charge may come to: what called runs have taken is within it, too."""
        return None if self.run_limit is None else max(self.run_limit - self.calls_taken, 0)

    def reply(self, increased: int | None = None) -> Hold:
        """The hold as it is answered.

        Args:
            increased: what the request that is answered has added, if it asked for more.
        """
        return Hold(
            run=self.run,
            epoch=self.epoch,
            state=self.state,
            amount=Money(amount=self.amount, currency=self.currency),
            quote=self.quote,
            partial=self.partial,
            calls_left=Money(amount=self.calls_left, currency=self.currency) if self.calls_max else None,
            increased=None if increased is None else Money(amount=increased, currency=self.currency),
        )


class Wanted(NamedTuple):
    """An amount to be set aside, the least of it that is worth having, and the run's own limit: whole and left."""

    needed: int
    least: int
    limit: int | None = None
    limit_left: int = 0


def check_known(known: RunHold, request: PlaceHold) -> None:
    """Refuse a request that is not the one that a run's hold was placed for.

    Raises:
        AgoraError: `idempotency_conflict` for another fingerprint, account or parent, `conflict` for an epoch that is not
            the next.
    """
    # A fingerprint is missing only on a hold that was made of the run's RunAccepted.
    asked = (request.account, request.parent)
    if known.fingerprint not in ("", request.fingerprint) or (known.account, known.parent) != asked:
        raise AgoraError(
            "idempotency_conflict",
            "this run was asked for before with another request; use another Idempotency-Key",
        )
    if request.epoch > known.epoch + 1:
        raise AgoraError("conflict", f"the run's hold is in epoch {known.epoch}, not {request.epoch}")


def wanted(account: Account, known: RunHold | None, request: PlaceHold, quote: Quote) -> Wanted:
    """How much a request wants to have set aside, of which its run's own limit is left.

    Raises:
        AgoraError: `conflict` for an epoch that is not the next, `currency_mismatch`, `malformed_request`.
    """
    if request.epoch > (epoch := known.epoch + 1 if known else 1):
        raise AgoraError("conflict", f"the run's next hold is epoch {epoch}, not {request.epoch}")
    if quote.amount.currency != account.currency:
        raise AgoraError(
            "currency_mismatch", f"the price is in {quote.amount.currency}, the account in {account.currency}"
        )
    limit = request.run_limit
    if limit is not None:
        _check_currency("limit", limit, account.currency)
        if limit.amount < 0:
            raise AgoraError("malformed_request", "a run's limit cannot be negative")
    needed = quote.amount.amount
    least = _least(request.accept_partial, needed, account.currency)
    return Wanted(needed, least) if limit is None else Wanted(needed, least, limit.amount, limit.amount)


def wanted_more(hold: RunHold, request: IncreaseHold) -> Wanted:
    """How much more a request wants to have set aside for a running run.

    Raises:
        AgoraError: `hold_closed` unless the hold is firm, `currency_mismatch`, `malformed_request`.
    """
    if hold.state != "firm":
        raise AgoraError("hold_closed", f"the run's hold is {hold.state}; only a firm one can be increased")
    _check_currency("increase", request.by, hold.currency)
    if request.by.amount <= 0:
        raise AgoraError("malformed_request", "a hold is increased by more than zero")
    needed = request.by.amount
    least = _least(request.accept_partial, needed, hold.currency)
    limit = _raised_limit(hold, request)
    return Wanted(needed, least, limit, (limit or 0) - hold.amount - hold.calls_taken)


def _raised_limit(hold: RunHold, request: IncreaseHold) -> int | None:
    """The run's own limit once its customer has let it grow."""
    grows = request.raise_limit
    if grows is None:
        return hold.run_limit
    _check_currency("rise of the limit", grows, hold.currency)
    if grows.amount < 0:
        raise AgoraError("malformed_request", "a run's limit is raised, never lowered, by an increase")
    if hold.run_limit is None:
        return None
    return min(hold.run_limit + grows.amount, MAX_MICRO)


def increased(hold: RunHold, request: IncreaseHold, amount: int) -> RunHold:
    """A hold that was given `amount` more, for what the request says."""
    for_calls = request.meter == AGENTS_COST_METER
    return replace(
        hold,
        amount=hold.amount + amount,
        partial=amount < request.by.amount,
        run_limit=_raised_limit(hold, request),
        calls_max=hold.calls_max + (amount if for_calls else 0),
        models_more=hold.models_more + (0 if for_calls else amount),
    )


def _check_currency(what: str, money: Money, currency: str) -> None:
    if money.currency != currency:
        raise AgoraError("currency_mismatch", f"the account is in {currency}, the {what} in {money.currency}")


def _least(accepted: Money | None, needed: int, currency: str) -> int:
    if accepted is None:
        return needed
    _check_currency("part that is accepted", accepted, currency)
    if accepted.amount <= 0:
        raise AgoraError("malformed_request", "a part that is accepted must be greater than zero")
    return min(accepted.amount, needed)


def placed(
    account: Account,
    known: RunHold | None,
    request: PlaceHold,
    quote: Quote,
    package: str,
    windows: tuple[int, ...],
    amount: int,
    now: datetime,
    lapses_at: datetime,
    *,
    calls_max: int = 0,
) -> RunHold:
    """A tentative hold of `amount`, in the next epoch of its run.

    Args:
        windows: the budget windows that it counts in.
        calls_max: what of it the runs that it calls may take.
    """
    return RunHold(
        run=request.run,
        tenant=request.tenant,
        account=account.id,
        epoch=known.epoch + 1 if known else 1,
        fingerprint=request.fingerprint,
        state="tentative",
        currency=account.currency,
        amount=amount,
        quoted=quote.amount.amount,
        price_version=quote.price_version,
        basis=quote.basis,
        deployment=request.deployment,
        package=package,
        api_key=request.api_key,
        run_limit=None if request.run_limit is None else request.run_limit.amount,
        partial=amount < quote.amount.amount,
        windows=windows,
        parent=request.parent,
        calls_max=calls_max,
        from_parent=0 if request.parent is None else amount,
        quote=quote,
        placed_at=now,
        lapses_at=lapses_at,
    )


def confirmed(hold: RunHold) -> RunHold:
    """A tentative hold made firm.

    Raises:
        AgoraError: `hold_closed` when it is settled.
    """
    if hold.state == "settled":
        raise AgoraError("hold_closed", "the run's charge is settled; its hold cannot be confirmed any more")
    return hold if hold.state == "firm" else replace(hold, state="firm")


def placed_again(hold: RunHold, windows: tuple[int, ...], now: datetime) -> RunHold:
    """A lapsed hold made firm under the next epoch."""
    return replace(
        hold,
        state="firm",
        epoch=hold.epoch + 1,
        placed_at=now,
        ended_at=None,
        windows=windows,
        from_parent=0 if hold.parent is None else hold.amount,
    )


def end(account: Account, hold: RunHold, state: HoldState, now: datetime) -> tuple[Account, RunHold]:
    """Close a hold as lapsed or settled and give back what it set aside; a closed one gives nothing."""
    if hold.is_open:
        account = account.give_back(hold.amount)
    return account, ended(hold, state, now)


def ended(hold: RunHold, state: HoldState, now: datetime) -> RunHold:
    """A hold closed as lapsed or settled."""
    return hold if hold.state == state else replace(hold, state=state, ended_at=now)


def unplaced(run: RunAccepted, tenant: str, quote: Quote, package: str, now: datetime) -> RunHold:
    """A lapsed hold made of an accepted run of which billing has none, to be placed by `confirm`; it pays for no calls."""
    return RunHold(
        run=run.run,
        tenant=tenant,
        account=run.account,
        epoch=max(run.hold_epoch, 1),
        fingerprint="",
        state="lapsed",
        currency=quote.amount.currency,
        amount=quote.amount.amount,
        quoted=quote.amount.amount,
        price_version=run.price_version,
        basis=run.basis,
        deployment=run.deployment,
        package=package,
        api_key=run.api_key,
        run_limit=None if run.run_limit is None else run.run_limit.amount,
        parent=run.parent,
        quote=quote,
        placed_at=now,
        lapses_at=now,
        ended_at=now,
    )
