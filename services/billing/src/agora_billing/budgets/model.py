"""A budget and its windows. Amounts are whole micro-units.

A window is a day or a month of UTC, or all the time since the budget was made. In each window a hold is first
*reserved*; its settlement turns the reservation into what was *spent*. A hold counts in the windows of the moment at
which it was placed, whenever it is settled: a run that begins before midnight is yesterday's.

Whoever changes a window has locked its account: nobody else decides on it at the same time.
"""

from copy import replace
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agora_contracts.budgets import (
    Budget,
    BudgetExhausted,
    BudgetKind,
    BudgetPeriod,
    BudgetScope,
    BudgetThresholdReached,
    ChangeBudget,
    CreateBudget,
)
from agora_contracts.money import MAX_MICRO, Money, format_amount
from agora_contracts.problems import AgoraError, FieldError

_NAMES = {
    "account": "of the account",
    "deployment": "of this deployment",
    "package": "of this package",
    "api_key": "of this API key",
    "run": "of this run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a budget says. `amount` is its limit; `revision` counts its changes from 1."""

    id: str
    tenant: str
    account: str
    scope: BudgetScope
    target: str | None
    period: BudgetPeriod
    kind: BudgetKind
    currency: str
    amount: int
    thresholds: tuple[int, ...]
    name: str
    created_at: datetime
    revision: int = 1
    deleted_at: datetime | None = None

    @property
    def is_hard(self) -> bool:
        """Whether it refuses what does not fit."""
        return self.kind == "hard" and self.deleted_at is None


@dataclass(slots=True, kw_only=True)
class Window:
    """A budget's counters of one period of time, while a transaction has its account locked.

    `told` is the highest threshold that was told, `refused` whether it was told that something was refused.
    `tells_at` is what must be spent until the next threshold may be reached.
    """

    id: int
    rule: Rule
    starts_at: datetime
    ends_at: datetime | None
    reserved: int = 0
    spent: int = 0
    told: int = 0
    refused: bool = False
    tells_at: int = field(init=False)

    def __post_init__(self) -> None:
        self.tells_at = self.next_tale()

    def next_tale(self) -> int:
        """What must be spent to reach the next threshold that was not told; never, when all were."""
        waiting = [one for one in self.rule.thresholds if one > self.told]
        return max(-(-self.rule.amount * min(waiting) // 100), 1) if waiting else MAX_MICRO + 1

    @property
    def left(self) -> int:
        """What new holds may still take; below zero when the limit was lowered or a soft one was passed."""
        return self.rule.amount - self.spent - self.reserved

    def is_over(self, now: datetime) -> bool:
        """Whether its day or month has ended."""
        return self.ends_at is not None and self.ends_at <= now

    def reached(self) -> list[int]:
        """The thresholds that what is spent has reached and that were not told, the lowest first."""
        spent = self.spent * 100
        return [
            one
            for one in sorted(self.rule.thresholds)
            if self.told < one and 0 < spent >= self.rule.amount * one
        ]

    def shown(self) -> Budget:
        """The budget in this window as it is answered."""
        rule = self.rule
        return Budget(
            id=rule.id,
            account=rule.account,
            scope=rule.scope,
            target=rule.target,
            period=rule.period,
            kind=rule.kind,
            currency=rule.currency,
            limit=rule.amount,
            spent=self.spent,
            reserved=self.reserved,
            left=self.left,
            thresholds=list(rule.thresholds),
            window_start=self.starts_at,
            window_end=self.ends_at,
            created_at=rule.created_at,
            name=rule.name,
            deleted_at=rule.deleted_at,
        )

    def threshold_reached(self, threshold: int, now: datetime) -> BudgetThresholdReached:
        """What is told when a threshold is reached."""
        rule = self.rule
        return BudgetThresholdReached(
            budget=rule.id,
            account=rule.account,
            scope=rule.scope,
            target=rule.target,
            kind=rule.kind,
            threshold=threshold,
            limit=self._money(rule.amount),
            spent=self._money(self.spent),
            window_start=self.starts_at,
            window_end=self.ends_at,
            at=now,
            name=rule.name,
        )

    def exhausted(self, run: str, needed: int, now: datetime) -> BudgetExhausted:
        """What is told when something is refused for the first time."""
        rule = self.rule
        return BudgetExhausted(
            budget=rule.id,
            account=rule.account,
            scope=rule.scope,
            target=rule.target,
            limit=self._money(rule.amount),
            spent=self._money(self.spent),
            reserved=self._money(self.reserved),
            left=self._money(self.left),
            needed=self._money(needed),
            run=run,
            window_start=self.starts_at,
            window_end=self.ends_at,
            at=now,
            name=rule.name,
        )

    def _money(self, amount: int) -> Money:
        return Money(amount=amount, currency=self.rule.currency)


def window_of(period: BudgetPeriod, created_at: datetime, now: datetime) -> tuple[datetime, datetime | None]:
    """When the window of a moment starts and ends (not included; None: never), in UTC."""
    if period == "total":
        return created_at, None
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day, day + timedelta(days=1)
    start = day.replace(day=1)
    # Any day of the next month, whatever the length of this one.
    return start, (start + timedelta(days=32)).replace(day=1)


# --- refusals ------------------------------------------------------------------------------------


def refusal(window: Window, needed: int) -> AgoraError:
    """The answer for what does not fit into a hard budget: which one, and what it has left."""
    rule = window.rule
    named = f"{rule.name!r} ({rule.id})" if rule.name else rule.id
    again = "" if window.ends_at is None else f", or wait until {window.ends_at:%Y-%m-%d %H:%M} UTC"
    return AgoraError(
        "budget_exhausted",
        f"{format_amount(needed)} {rule.currency} are needed and the budget {named} {_NAMES[rule.scope]} has "
        f"{format_amount(max(window.left, 0))} left of {format_amount(rule.amount)}; raise its limit{again}",
        errors=[FieldError(field=rule.id, detail=f"has {format_amount(max(window.left, 0))} left")],
    )


def run_refusal(needed: int, left: int, limit: int, currency: str) -> AgoraError:
    """The answer for what does not fit into a run's own limit."""
    return AgoraError(
        "budget_exhausted",
        f"{format_amount(needed)} {currency} are needed and the run's own limit (max_cost) has "
        f"{format_amount(max(left, 0))} left of {format_amount(limit)}; let it grow, or start a run with a higher one",
        errors=[FieldError(field="/max_cost", detail=f"has {format_amount(max(left, 0))} left")],
    )


# --- making and changing -------------------------------------------------------------------------


def created(command: CreateBudget, currency: str, now: datetime) -> Rule:
    """A new budget.

    Args:
        currency: the account's.

    Raises:
        AgoraError: `currency_mismatch`, or `invalid_input` naming each field at fault.
    """
    _check_limit(command.limit, currency)
    errors: list[FieldError] = []
    if command.scope == "account" and command.target is not None:
        errors.append(FieldError(field="/target", detail="must be left out: the scope is the whole account"))
    if command.scope != "account" and command.target is None:
        errors.append(FieldError(field="/target", detail=f"is needed: which {command.scope} is limited"))
    if command.scope == "run" and command.period != "total":
        errors.append(FieldError(field="/period", detail="must be total: a run is charged once"))
    if errors:
        raise AgoraError("invalid_input", "the budget cannot be made like this", errors=errors)
    return Rule(
        id=command.budget,
        tenant=command.tenant,
        account=command.account,
        scope=command.scope,
        target=command.target,
        period=command.period,
        kind=command.kind,
        currency=currency,
        amount=command.limit.amount,
        thresholds=_ordered(command.thresholds),
        name=command.name,
        created_at=now,
    )


def check_same(known: Rule, command: CreateBudget) -> None:
    """Refuse another budget under an id that is there.

    Raises:
        AgoraError: `idempotency_conflict`.
    """
    asked = (command.account, command.scope, command.target, command.period)
    if (known.account, known.scope, known.target, known.period) != asked:
        raise AgoraError(
            "idempotency_conflict", "this budget was made with other words; use another Idempotency-Key"
        )


def changed(rule: Rule, command: ChangeBudget) -> Rule:
    """A budget after a change; the same one when nothing changes.

    Raises:
        AgoraError: `currency_mismatch`, `invalid_input`.
    """
    if command.limit is not None:
        _check_limit(command.limit, rule.currency)
    after = replace(
        rule,
        amount=rule.amount if command.limit is None else command.limit.amount,
        kind=command.kind or rule.kind,
        thresholds=rule.thresholds if command.thresholds is None else _ordered(command.thresholds),
        name=rule.name if command.name is None else command.name,
    )
    return rule if after == rule else replace(after, revision=rule.revision + 1)


def gives_room(before: Rule, after: Rule) -> bool:
    """Whether something that a budget has refused may fit after a change of it."""
    return before.is_hard and (not after.is_hard or after.amount > before.amount)


def _check_limit(limit: Money, currency: str) -> None:
    if limit.currency != currency:
        raise AgoraError("currency_mismatch", f"the account is in {currency}, the budget in {limit.currency}")
    if not 0 <= limit.amount <= MAX_MICRO:
        raise AgoraError(
            "invalid_input",
            "a budget's limit cannot be negative",
            errors=[FieldError(field="/limit", detail="must be zero or more")],
        )


def _ordered(thresholds: list[int]) -> tuple[int, ...]:
    return tuple(sorted(set(thresholds)))
