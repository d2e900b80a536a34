"""The command `agora`: what authors and customers do from a terminal.

Exit codes: 0 done, 1 failed, 2 used wrongly.
"""

import typer

from agora.cli import author

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


def main() -> None:
    """The entry point of the command."""
    app()
