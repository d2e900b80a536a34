"""`agora schedules`: runs that start by themselves."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from agora.cli import show
from agora.cli.customer import AsJson, Cursor, Key, Url, call
from agora.cli.inputs import read_json
from agora.client.schedules import Schedule
from agora.client.types import PublicMoney

app = typer.Typer(help="Runs that start by themselves.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The schedule's id (sch_…).")]


@app.command("create")
def create(
    target: Annotated[str, typer.Argument(help="A package's id, or a deployment's (dep_…).")],
    given: Annotated[str, typer.Option("--input", help="Each run's input: JSON, or @FILE.")] = "{}",
    cron: Annotated[
        str | None, typer.Option(help="Minute, hour, day, month, day of the week: '0 9 * * 1-5'.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Once, such as 2030-01-05T09:00:00+01:00.")] = None,
    zone: Annotated[str, typer.Option(help="The time zone of --cron, such as Europe/Berlin.")] = "UTC",
    overlap: Annotated[
        str, typer.Option(help="While the run before goes on: skip, buffer_one or allow.")
    ] = "skip",
    failures_max: Annotated[int, typer.Option(help="Pause after so many failures in a row.")] = 5,
    max_cost: Annotated[str | None, typer.Option(help="What a run may cost at most, such as 0.50.")] = None,
    name: Annotated[str, typer.Option(help="A name of your own.")] = "",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key makes it once.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule and show its next times."""
    run_input = read_json(given, "--input")
    if not isinstance(run_input, dict):
        raise typer.BadParameter("an input is a JSON object", param_hint="--input")
    made = call(
        url,
        key,
        lambda client: client.schedules.create(
            target,
            run_input,
            cron=cron,
            at=None if at is None else _moment(at),
            time_zone=zone,
            overlap=overlap,
            failures_max=failures_max,
            max_cost=None if max_cost is None else PublicMoney(amount=max_cost),
            name=name,
            idempotency_key=idempotency_key,
        ),
    )
    _show([made], as_json)


@app.command("list")
def listed(cursor: Cursor = None, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the schedules, newest first."""
    page = call(url, key, lambda client: client.schedules.list(cursor=cursor, limit=200))
    _show(page.items, as_json)
    show.more(page.next_cursor)


@app.command("show")
def shown(schedule: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Show a schedule, its next times and what came of the last ones."""

    async def both(client: Any) -> Any:
        return await client.schedules.get(schedule), await client.schedules.fires(schedule, limit=20)

    found, fires = call(url, key, both)
    if as_json:
        show.json_value({"schedule": found, "fires": fires.items})
        return
    _show([found], as_json=False)
    for moment in found.next_times:
        show.out.print(f"next: {_text(moment)}")
    show.table(
        ("time", "what came of it", "run or reason"),
        [
            (_text(one.scheduled_for), one.state, one.run or (one.reason.detail if one.reason else ""))
            for one in fires.items
        ],
    )


@app.command("pause")
def pause(
    schedule: Id,
    reason: Annotated[str, typer.Option(help="Why, in your own words.")] = "",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let it start nothing until it is resumed."""
    _show([call(url, key, lambda client: client.schedules.pause(schedule, reason))], as_json)


@app.command("resume")
def resume(schedule: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Let it go on from its next time."""
    _show([call(url, key, lambda client: client.schedules.resume(schedule))], as_json)


@app.command("trigger")
def trigger(schedule: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Start a run now; end with 1 when it was refused."""
    fire = call(url, key, lambda client: client.schedules.trigger(schedule))
    if as_json:
        show.json_value(fire)
    else:
        show.out.print(f"{fire.state} {fire.run or (fire.reason.detail if fire.reason else '')}".strip())
    if fire.state == "refused":
        raise typer.Exit(show.FAILED)


@app.command("remove")
def remove(schedule: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Delete it; runs that it has started go on."""
    removed = call(url, key, lambda client: client.schedules.delete(schedule))
    if as_json:
        show.json_value(removed)
    else:
        show.out.print(f"{removed.id} removed")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no moment", param_hint="--at") from error
    if moment.tzinfo is None:
        raise typer.BadParameter("name the time zone, such as +01:00 or Z", param_hint="--at")
    return moment


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _show(schedules: list[Schedule], as_json: bool) -> None:
    if as_json:
        show.json_value(schedules)
        return
    show.table(
        ("schedule", "state", "what", "when", "next", "why paused"),
        [
            (
                one.id,
                one.state,
                one.deployment or one.package,
                f"{one.cron} {one.time_zone}" if one.cron else _text(one.at) if one.at else "",
                _text(one.next_times[0]) if one.next_times else "",
                one.paused_for.detail if one.paused_for else "",
            )
            for one in schedules
        ],
    )
