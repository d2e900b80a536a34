"""What the demo measured and whether it holds together. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
from agora.client.types import StatementLine
from agora_contracts.money import format_amount, parse_amount


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the demo as it ended. `cost` is in micro-units, None when it was not settled."""

    agent: str
    label: str
    run: str
    status: str
    steps: int
    seconds: float
    usage: Mapping[str, str]
    cost: int | None
    error: str | None
    output: dict[str, Any] | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All runs, the statement and its sums in micro-units."""

    runs: list[RunResult]
    statement: list[StatementLine]
    lines_sum: int
    entries_sum: int
    credit: int
    held: int
    seconds: float

    @property
    def problems(self) -> list[str]:
        """What does not hold; empty when all is well."""
        found = [f"{one.run} {one.status}: {one.error}" for one in self.runs if one.status != "succeeded"]
        found += [f"{one.run} has no settled charge" for one in self.runs if one.cost is None]
        if not self.lines_sum == self.entries_sum == self.credit:
            found.append(
                f"statement {self.lines_sum}, ledger {self.entries_sum} and credit {self.credit} differ"
            )
        charged = {line.run: line for line in self.statement if line.kind == "charge"}
        for one in self.runs:
            line = charged.get(one.run)
            if one.cost and (line is None or parse_amount(line.amount.amount) != -one.cost):
                found.append(f"{one.run} cost {one.cost}, which is not what the statement says")
        return found

    @property
    def passed(self) -> bool:
        """Whether every run finished, every charge settled, and the sums agree."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """One line."""
        if not self.passed:
            return "NOT all well: " + "; ".join(self.problems)
        cost = sum(one.cost or 0 for one in self.runs)
        return (
            f"{len(self.runs)} runs finished, {len(self.runs)} charges settled for {format_amount(cost)} USD; "
            "statement, ledger and credit agree to the micro-unit."
        )
