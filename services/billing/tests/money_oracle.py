"""What an account must look like: rules written down once more, on plain numbers, for the machine to compare with."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class OracleGrant:
    """Promotional credit and what became of it."""

    order: int
    amount: int
    remaining: int
    expires: datetime | None
    expired: int = 0

    def over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now


@dataclass
class OracleBudget:
    """A hard or soft budget that never begins anew."""

    limit: int
    hard: bool
    spent: int = 0


@dataclass
class OracleRun:
    """A run's charge, who pays it, and from which grants. `by` has what is not given back yet."""

    revision: int = 0
    charge: int = 0
    refunded: int = 0
    by: dict[str, int] = field(
        default_factory=lambda: {"promotional": 0, "credit": 0, "receivable": 0, "platform": 0}
    )
    uses: dict[int, int] = field(default_factory=dict)

    @property
    def customer(self) -> int:
        """What the customer bears."""
        return self.by["promotional"] + self.by["credit"] + self.by["receivable"]


@dataclass
class Oracle:
    """One account."""

    limit: int
    credit: int = 0
    receivable: int = 0
    topped_up: int = 0
    grants: list[OracleGrant] = field(default_factory=list)
    runs: dict[str, OracleRun] = field(default_factory=dict)
    budgets: dict[str, OracleBudget] = field(default_factory=dict)

    @property
    def promotional(self) -> int:
        """What is left of all grants."""
        return sum(grant.remaining for grant in self.grants)

    def in_order(self) -> list[OracleGrant]:
        """Grants as they are spent: what expires first goes first."""
        dated = sorted((g for g in self.grants if g.expires), key=lambda g: (g.expires, g.order))
        return dated + [g for g in self.grants if not g.expires]

    def top_up(self, amount: int) -> None:
        """Credit comes in; what is owed is paid first."""
        paid = min(amount, self.receivable)
        self.receivable -= paid
        self.credit += amount - paid
        self.topped_up += amount

    def expire(self, held: int, now: datetime) -> None:
        """What is held lies on the grants in their order; the rest of those whose time is over is gone."""
        for grant in self.in_order():
            covered = min(held, grant.remaining)
            held -= covered
            if grant.over(now):
                grant.expired += grant.remaining - covered
                grant.remaining = covered

    def charge(self, run: str, revision: int, amount: int, budgets: "Room") -> None:
        """A revision of a run's usage comes to `amount`."""
        known = self.runs.setdefault(run, OracleRun())
        if revision <= known.revision:
            return
        known.revision = revision
        amount = max(amount, known.refunded)
        before = known.customer
        if amount >= known.charge:
            most = budgets.most(self, known, amount - known.charge)
            self._pay(known, amount - known.charge, budgets.held_elsewhere, most)
        else:
            self._give_back(known, known.charge - amount, budgets.now)
        known.charge = amount
        budgets.spend(self, known.customer - before)

    def refund(self, run: str, amount: int, budgets: "Room") -> None:
        """Part of a run's charge goes back."""
        known = self.runs[run]
        before = known.customer
        self._give_back(known, amount, budgets.now)
        known.refunded += amount
        budgets.spend(self, known.customer - before)

    def _pay(self, run: OracleRun, amount: int, held_elsewhere: int, most: int | None) -> None:
        left = amount if most is None else min(amount, most)
        free = self.credit + self.promotional - held_elsewhere
        promotional = min(left, self.promotional, free)
        credit = min(left - promotional, free - promotional)
        owed = min(left - promotional - credit, self.limit - self.receivable)
        rest = promotional
        for grant in self.in_order():
            part = min(rest, grant.remaining)
            grant.remaining -= part
            rest -= part
            run.uses[grant.order] = run.uses.get(grant.order, 0) + part
        self.credit -= credit
        self.receivable += owed
        for who, part in (
            ("promotional", promotional),
            ("credit", credit),
            ("receivable", owed),
            ("platform", amount - promotional - credit - owed),
        ):
            run.by[who] += part

    def _give_back(self, run: OracleRun, amount: int, now: datetime) -> None:
        platform = min(amount, run.by["platform"])
        amount -= platform
        owed = min(amount, run.by["receivable"] + min(run.by["credit"], 0), self.receivable)
        amount -= owed
        credit = min(amount, run.by["credit"] + run.by["receivable"] - owed)
        promotional = amount - credit
        rest = promotional
        for grant in reversed(self.in_order()):
            part = min(rest, run.uses.get(grant.order, 0))
            run.uses[grant.order] = run.uses.get(grant.order, 0) - part
            rest -= part
            if grant.over(now):
                grant.expired += part
            else:
                grant.remaining += part
        assert rest == 0
        self.credit += credit
        self.receivable -= owed
        for who, part in (
            ("promotional", promotional),
            ("credit", credit),
            ("receivable", owed),
            ("platform", platform),
        ):
            run.by[who] -= part


@dataclass
class Room:
    """What the budgets that a run counts in let its customer pay.

    `reserved` is what each budget has reserved for all open holds, `held` what is set aside for this run, `held_elsewhere`
    for others, and `run_limit` its own limit; after its first charge nothing is held for it any more.
    """

    now: datetime
    counts_in: list[str] = field(default_factory=list)
    reserved: dict[str, int] = field(default_factory=dict)
    held: int = 0
    held_elsewhere: int = 0
    run_limit: int | None = None

    def most(self, oracle: Oracle, run: OracleRun, more: int) -> int | None:
        """The most that the customer may pay more; None when nothing limits it."""
        room: list[int] = []
        lefts = []
        for name in self.counts_in:
            budget = oracle.budgets[name]
            if budget.hard:
                lefts.append(budget.limit - budget.spent - self.reserved[name])
        if lefts:
            room.append(self.held + max(min(lefts), 0))
        if self.run_limit is not None:
            room.append(max(self.run_limit - run.customer, 0))
        for name in self.counts_in:
            self.reserved[name] -= self.held
        self.held = 0
        return min(room, default=None)

    def spend(self, oracle: Oracle, amount: int) -> None:
        """Count what the customer pays more, or less, in the run's budgets."""
        for name in self.counts_in:
            oracle.budgets[name].spent += amount


@dataclass
class CalledRoom(Room):
    """What the customer of a run that another run calls may pay: what was carved out for it, and what its caller has left.

    `taken` is what it has taken of its caller for itself, `left` what that one has left for calls, `caller_in` the budgets
    that the caller counts in, `open` whether the caller's hold is.
    """

    taken: int = 0
    left: int = 0
    caller_in: list[str] = field(default_factory=list)
    open: bool = True
    first: bool = True

    def most(self, oracle: Oracle, run: OracleRun, more: int) -> int:
        """The most that the customer may pay more; notes what is taken of the caller for it."""
        own = max(self.taken - run.customer, 0)
        if self.open and not self.first:
            own = min([own, *(max(one, 0) for one in self._lefts(oracle, self.counts_in))])
        counted = [name for name in self.counts_in if not (self.open and name in self.caller_in)]
        room = [own + self.left]
        room += [self.held + max(one, 0) for one in self._lefts(oracle, counted)]
        if self.run_limit is not None:
            room.append(max(self.run_limit - run.customer, 0))
        most = min(room)
        moved = max(min(more, most) - own, 0)
        self.taken += moved
        self.left -= moved
        if self.open:
            self.held_elsewhere -= moved
            self._reserve(self.caller_in, -moved)
        self._reserve(self.counts_in, -self.held)
        return most

    def spend(self, oracle: Oracle, amount: int) -> None:
        """Count what the customer pays; what the hold had beyond it goes back to the caller, or to the account."""
        super().spend(oracle, amount)
        if self.first:
            back = max(self.held - amount, 0)
            self.taken -= back
            self.left += back
            if self.open:
                self.held_elsewhere += back
                self._reserve(self.caller_in, back)
        self.first, self.held = False, 0

    def _lefts(self, oracle: Oracle, names: list[str]) -> list[int]:
        budgets = [(name, oracle.budgets[name]) for name in names]
        return [one.limit - one.spent - self.reserved[name] for name, one in budgets if one.hard]

    def _reserve(self, names: list[str], amount: int) -> None:
        for name in names:
            self.reserved[name] += amount
