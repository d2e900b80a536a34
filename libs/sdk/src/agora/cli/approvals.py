"""`agora approvals`: what runs wait for people to decide."""

from typing import Annotated, Any

import msgspec
import typer

from agora.cli import show
from agora.cli.customer import AsJson, Cursor, Key, Url, call
from agora.client.approvals import Approval

app = typer.Typer(help="What runs wait for people to decide: list, approve, reject.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The approval's id (apr_…).")]
Comment = Annotated[str, typer.Option(help="Why; it is kept, and told to the agent.")]


@app.command("list")
def listed(
    everything: Annotated[bool, typer.Option("--all", help="Also what was decided.")] = False,
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List what waits for a decision, newest first."""
    state = None if everything else "pending"
    found = call(
        url, key, lambda client: client.approvals.list(state=state, run=run, cursor=cursor, limit=200)
    )
    _show(found.items, as_json)
    show.more(found.next_cursor)


@app.command("approve")
def approve(
    approval: Id,
    comment: Comment = "",
    arguments: Annotated[str | None, typer.Option(help="Other arguments, as JSON.")] = None,
    value: Annotated[str | None, typer.Option(help="The input that was asked for, as JSON.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Approve; the run goes on."""
    decided = call(
        url,
        key,
        lambda client: client.approvals.decide(
            approval,
            "approve",
            comment=comment,
            arguments=_json(arguments, "--arguments"),
            value=_json(value, "--value"),
        ),
    )
    _show([decided], as_json)


@app.command("reject")
def reject(
    approval: Id, comment: Comment = "", url: Url = None, key: Key = None, as_json: AsJson = False
) -> None:
    """Reject; the run goes on without."""
    decided = call(url, key, lambda client: client.approvals.decide(approval, "reject", comment=comment))
    _show([decided], as_json)


def _json(given: str | None, option: str) -> Any:
    if given is None:
        return None
    try:
        return msgspec.json.decode(given)
    except msgspec.DecodeError as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from error


def _show(approvals: list[Approval], as_json: bool) -> None:
    if as_json:
        show.json_value(approvals)
        return
    show.table(
        ["approval", "run", "kind", "state", "what", "until"],
        [
            [one.id, one.run, one.kind, one.state, one.action, f"{one.deadline:%Y-%m-%d %H:%M}"]
            for one in approvals
        ],
    )
