"""The demo's result as a person reads it: a table of runs, then the statement with its sum checked."""

import sys
from collections.abc import Sequence
from typing import Any

from agora_contracts.money import format_amount
from rich.console import Console
from rich.table import Table

from agora_local.demo.outcome import Outcome, RunResult


def show(outcome: Outcome) -> None:
    """Print everything."""
    # Piped into a file, a table need not fit a terminal's 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(_runs(outcome.runs))
    for result in outcome.runs:
        if text := _answer(result):
            console.print(
                f"[bold]{result.agent}[/bold] {result.label}\n  {text}", highlight=False, markup=True
            )
    console.print(_statement(outcome))
    console.print(outcome.verdict, style="green" if outcome.passed else "red", highlight=False)


def _runs(runs: Sequence[RunResult]) -> Table:
    table = Table(title="Runs", title_justify="left")
    for name in ("agent", "what", "run", "status"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    table.add_column("steps", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("usage")
    table.add_column("cost USD", justify="right")
    for result in runs:
        table.add_row(
            result.agent,
            result.label[:40],
            result.run[:14] + "…",
            result.status if not result.error else f"{result.status}: {result.error}",
            str(result.steps),
            f"{result.seconds:.2f}",
            ", ".join(f"{quantity} {meter}" for meter, quantity in result.usage.items()),
            "-" if result.cost is None else format_amount(result.cost),
        )
    return table


def _answer(result: RunResult) -> str:
    output: dict[str, Any] = result.output or {}
    match result.agent:
        case "knowledge-base":
            cited = "; ".join(sorted({one["locator"] for one in output.get("citations", [])}))
            return f"{_short(output.get('answer', ''))}" + (f"\n  [dim]{cited}[/dim]" if cited else "")
        case "data-processor":
            return (
                f"{output.get('rows_in')} rows in = {output.get('rows_out')} out + {output.get('rejected')} rejected, "
                f"quality {output.get('quality_score')}"
            )
        case "ticket-resolver":
            done = "resolved" if output.get("resolved") else f"escalated ({output.get('escalation_reason')})"
            return f"{output.get('category')}, {output.get('priority')}, {output.get('language')}: {done}"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:297] + "…"


def _statement(outcome: Outcome) -> Table:
    table = Table(title="Statement, newest first", title_justify="left")
    table.add_column("at")
    table.add_column("what")
    table.add_column("amount USD", justify="right")
    table.add_column("credit after", justify="right")
    for line in outcome.statement[:12]:
        table.add_row(f"{line.at:%H:%M:%S}", line.description, line.amount.amount, line.balance.amount)
    if len(outcome.statement) > 12:
        table.add_row("", f"… and {len(outcome.statement) - 12} more lines", "", "")
    table.add_section()
    table.add_row("", "sum of the statement's lines", format_amount(outcome.lines_sum), "")
    table.add_row("", "sum of the ledger's entries", format_amount(outcome.entries_sum), "")
    table.add_row("", "credit", format_amount(outcome.credit), "")
    return table
