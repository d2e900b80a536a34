"""A hold: credit of one account set aside for one run. Amounts are whole micro-units.

(none) --place--> tentative --confirm--> firm --settle--> settled
                     |    \\----------settle------------/     |
                  2 minutes                                (never again)
                     v
                   lapsed --place again or confirm, under the next epoch--> tentative or firm
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agora_contracts.billing import Hold, HoldState, IncreaseHold, PlaceHold, Quote
from agora_contracts.execution import RunAccepted
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError

from agora_billing.accounts.model import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHold:
    """What is set aside for a run. A run has one hold; each time it is placed again its epoch counts up.

    Invariant: `amount` is in its account's `held` exactly while the state is tentative or firm.
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

    @property
    def is_open(self) -> bool:
        """Whether the amount is set aside now."""
        return self.state in ("tentative", "firm")

    def has_lapsed(self, now: datetime) -> bool:
        """Whether it lapsed, also when no sweep has noticed yet."""
        return self.state == "lapsed" or (self.state == "tentative" and self.lapses_at <= now)

    def reply(self) -> Hold:
        """The hold as it is answered."""
        return Hold(
            run=self.run,
            epoch=self.epoch,
            state=self.state,
            amount=Money(amount=self.amount, currency=self.currency),
            quote=self.quote,
        )


def place(
    account: Account, known: RunHold | None, request: PlaceHold, quote: Quote, now: datetime, lapse: timedelta
) -> tuple[Account, RunHold]:
    """Set a quote aside, or answer with the hold that the run has already.

    Raises:
        AgoraError: `idempotency_conflict` for the run's hold under another fingerprint or account,
            `conflict` for an epoch that is not the next, `currency_mismatch`, `insufficient_credit`.
    """
    if known is not None:
        _check_same(known, request)
        if not known.has_lapsed(now):
            return account, known
        account, known = end(account, known, "lapsed", now)
    if request.epoch > (epoch := known.epoch + 1 if known else 1):
        raise AgoraError("conflict", f"the run's next hold is epoch {epoch}, not {request.epoch}")
    if quote.amount.currency != account.currency:
        raise AgoraError(
            "currency_mismatch", f"the price is in {quote.amount.currency}, the account in {account.currency}"
        )
    hold = RunHold(
        run=request.run,
        tenant=request.tenant,
        account=account.id,
        epoch=epoch,
        fingerprint=request.fingerprint,
        state="tentative",
        currency=account.currency,
        amount=quote.amount.amount,
        quoted=quote.amount.amount,
        price_version=quote.price_version,
        basis=quote.basis,
        deployment=request.deployment,
        quote=quote,
        placed_at=now,
        lapses_at=now + lapse,
    )
    return account.set_aside(hold.amount), hold


def _check_same(known: RunHold, request: PlaceHold) -> None:
    # A fingerprint is missing only on a hold that was made of the run's RunAccepted.
    same = known.fingerprint in ("", request.fingerprint) and known.account == request.account
    if not same:
        raise AgoraError(
            "idempotency_conflict",
            "this run was asked for before with another request; use another Idempotency-Key",
        )
    if request.epoch > known.epoch + 1:
        raise AgoraError("conflict", f"the run's hold is in epoch {known.epoch}, not {request.epoch}")


def confirm(account: Account, hold: RunHold, now: datetime) -> tuple[Account, RunHold]:
    """Make a hold firm; a lapsed one is placed again under the next epoch.

    Raises:
        AgoraError: `hold_closed` when it is settled, `insufficient_credit` when it lapsed and the account
            has not the credit for it any more.
    """
    if hold.state == "settled":
        raise AgoraError("hold_closed", "the run's charge is settled; its hold cannot be confirmed any more")
    if hold.state == "firm":
        return account, hold
    if not hold.has_lapsed(now):
        return account, replace(hold, state="firm")
    account, hold = end(account, hold, "lapsed", now)
    again = replace(hold, state="firm", epoch=hold.epoch + 1, placed_at=now, ended_at=None)
    return account.set_aside(again.amount), again


def increase(account: Account, hold: RunHold, request: IncreaseHold) -> tuple[Account, RunHold]:
    """Set more aside for a running run.

    Raises:
        AgoraError: `hold_closed` unless the hold is firm, `currency_mismatch`, `malformed_request`,
            `insufficient_credit`.
    """
    if hold.state != "firm":
        raise AgoraError("hold_closed", f"the run's hold is {hold.state}; only a firm one can be increased")
    if request.by.currency != hold.currency:
        raise AgoraError("currency_mismatch", f"the hold is in {hold.currency}, not {request.by.currency}")
    if request.by.amount <= 0:
        raise AgoraError("malformed_request", "a hold is increased by more than zero")
    return account.set_aside(request.by.amount), replace(hold, amount=hold.amount + request.by.amount)


def end(account: Account, hold: RunHold, state: HoldState, now: datetime) -> tuple[Account, RunHold]:
    """Close a hold as lapsed or settled and give back what it set aside; a closed one gives nothing."""
    if hold.is_open:
        account = account.give_back(hold.amount)
    if hold.state == state:
        return account, hold
    return account, replace(hold, state=state, ended_at=now)


def unplaced(run: RunAccepted, tenant: str, quote: Quote, now: datetime) -> RunHold:
    """A lapsed hold made of an accepted run of which billing has none, to be placed by `confirm`."""
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
        quote=quote,
        placed_at=now,
        lapses_at=now,
        ended_at=now,
    )
