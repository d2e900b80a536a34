"""The command `agora`: what authors and customers do from a terminal.

Exit codes: 0 done, 1 failed, 2 used wrongly.
"""

import os

# Before anything imports numpy: on a busy machine OpenBLAS's threads spin while they wait for each other, and one
# thread is as quick for the small matrices of agents. Set the variable yourself to have more.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from agora.cli import (
    approvals,
    author,
    budgets,
    conversations,
    customer,
    ledger,
    months,
    schedules,
    swarms,
    usage,
)

app = typer.Typer(
    name="agora",
    help="Write agents, run them alone, and use the marketplace.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("new")(author.new)
app.command("validate")(author.validate)
app.command("run")(author.run)
app.command("eval")(author.evaluate_cases)
app.command("publish")(customer.publish)
app.command("packages")(customer.packages)
app.command("hire")(customer.hire)
app.command("execute")(customer.execute)
app.command("runs")(customer.runs)
app.command("receipt")(customer.receipt)
app.command("balance")(customer.balance)
app.command("statement")(customer.statement)
app.command("prices")(months.prices)
app.command("months")(months.months)
app.command("ledger")(ledger.ledger)
app.command("verify-ledger")(ledger.verify_ledger)
app.add_typer(usage.app, name="usage")
app.add_typer(budgets.app, name="budgets")
app.add_typer(approvals.app, name="approvals")
app.command("cancel")(customer.cancel)
app.command("pause")(customer.pause)
app.command("resume")(customer.resume)
app.add_typer(conversations.chat_app, name="chat")
app.add_typer(conversations.memory_app, name="memory")
app.add_typer(schedules.app, name="schedules")
app.add_typer(swarms.app, name="swarm")


def main() -> None:
    """The entry point of the command."""
    app()
