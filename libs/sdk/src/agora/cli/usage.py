"""The commands about usage: totals, events reported by oneself, what was refused of them, corrections, exports."""

import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import msgspec
import typer
from agora_contracts.exports import ExportFormat, ExportKind
from agora_contracts.meters import Aggregation
from agora_contracts.usage_ingest import IngestedEvent, RefusalReason

from agora.cli import show
from agora.cli.customer import AsJson, Key, Url, call
from agora.client import Client, UsageEvent

app = typer.Typer(help="What was used; and usage of your own, reported.", invoke_without_command=True)

Meter = Annotated[str | None, typer.Option(help="Only this meter.")]
Package = Annotated[str | None, typer.Option(help="Only this package.")]
Deployment = Annotated[str | None, typer.Option(help="Only this deployment.")]
_TIMES = ("minute", "hour", "day", "month")
Reason = Annotated[str | None, typer.Option(help=f"One of {', '.join(get_args(RefusalReason))}.")]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time, such as 2026-01-31T00:00:00Z.") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} needs its time zone, such as 2026-01-31T00:00:00Z.")
    return moment


Start = Annotated[
    datetime | None,
    typer.Option("--from", parser=_moment, metavar="TIME", help="Start, such as 2026-01-01T00:00:00Z."),
]
End = Annotated[
    datetime | None, typer.Option("--to", parser=_moment, metavar="TIME", help="End, not included.")
]


@app.callback()
def usage(
    context: typer.Context,
    start: Start = None,
    end: End = None,
    meter: Meter = None,
    package: Package = None,
    deployment: Deployment = None,
    by: Annotated[
        str,
        typer.Option(
            help="Comma-separated: meter, package, deployment, and one of minute, hour, day, month."
        ),
    ] = "meter",
    dimension: Annotated[
        list[str] | None, typer.Option(help="A dimension to group by as well; may be repeated.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Whose hours, days and months, such as Europe/Berlin.")] = "UTC",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what was used, of the last 30 days unless said otherwise."""
    if context.invoked_subcommand is not None:
        return
    groups, dimensions = by.split(","), dimension or []
    report = call(
        url,
        key,
        lambda client: client.usage.query(
            start=start,
            end=end,
            meter=meter,
            package=package,
            deployment=deployment,
            group_by=groups,
            dimensions=dimensions,
            time_zone=zone,
        ),
    )
    if as_json:
        show.json_value(report)
        return
    columns = ["time" if group in _TIMES else group for group in groups]
    show.table(
        (*columns, *dimensions, "quantity", "events"),
        [
            (
                *(_cell(getattr(row, column, None)) for column in columns),
                *(_cell(row.dimensions.get(name)) for name in dimensions),
                _plain(row.quantity),
                str(row.events),
            )
            for row in report.items
        ],
    )
    if report.incomplete:
        show.note(f"Not counted to the end yet: {', '.join(report.incomplete)}")
    if report.truncated:
        show.note("There is more; ask for a shorter span.")


@app.command("meters")
def meters(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the meters that usage is counted by."""
    page = call(url, key, lambda client: client.usage.list_meters())
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("meter", "reads", "how", "unit", "dimensions", "state"),
        [
            (
                item.key,
                item.event,
                item.aggregation + (f" of {item.value}" if item.value else ""),
                item.unit,
                ", ".join(item.dimensions),
                item.state if item.state == "active" else f"{item.state} {item.progress_percent} %",
            )
            for item in page.items
        ],
    )


@app.command("define")
def define(
    meter: Annotated[str, typer.Argument(help="The meter's key.")],
    unit: Annotated[str, typer.Option(help="Such as GB.")],
    aggregation: Annotated[
        str, typer.Option("--how", help="sum, count, unique_count, min, max or latest.")
    ] = "sum",
    event: Annotated[
        str | None, typer.Option(help="The `meter` of the events that it reads; its key by default.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="The dimension to aggregate instead of the quantity.")
    ] = None,
    dimension: Annotated[
        list[str] | None, typer.Option(help="What totals can be grouped by; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Define a meter; what was stored before is counted into it."""
    how = _one_of(aggregation, get_args(Aggregation), "--how")
    defined = call(
        url,
        key,
        lambda client: client.usage.define_meter(
            meter,
            unit=unit,
            aggregation=cast(Aggregation, how),
            event=event,
            value=value,
            dimensions=dimension or [],
            description=description,
        ),
    )
    if as_json:
        show.json_value(defined)
    else:
        show.out.print(f"{defined.key} {defined.state}")


@app.command("report")
def report(
    file: Annotated[
        str, typer.Argument(help="JSON lines, each an event; - for standard input.", metavar="FILE")
    ],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Report usage. Each line is an event: {"id", "meter", "quantity", …}, or a whole CloudEvent.

    Sending the same file again counts nothing twice. Exit code 1 when events were refused.
    """
    events = list(_read_events(file))
    told = call(url, key, lambda client: client.usage.report(events))
    if as_json:
        show.json_value(told)
    else:
        show.out.print(f"{told.accepted} counted, {told.duplicates} known already, {told.refused} refused")
        _show_refused([item for item in told.items if item.result == "refused"])
    if told.refused:
        raise typer.Exit(show.FAILED)


@app.command("refused")
def refused(
    reason: Reason = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List reported events that do not count, and what to change."""
    page = call(url, key, lambda client: client.usage.refused(reason=_reason(reason), limit=200))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("refused", "event", "source", "reason", "what to change"),
        [(item.id, item.event_id, item.source, item.reason, item.detail) for item in page.items],
    )


@app.command("replay")
def replay(
    id: Annotated[str | None, typer.Argument(help="A refused event (ref_…); all of them by default.")] = None,
    corrected: Annotated[
        Path | None,
        typer.Option(help="The event as it should have been: a file with one event.", dir_okay=False),
    ] = None,
    reason: Reason = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Try refused events again: one, as it came or corrected; or all, or all of one reason."""
    if id is None:
        if corrected is not None:
            raise typer.BadParameter("say which refused event it corrects.", param_hint="--corrected")
        done = call(url, key, lambda client: client.usage.replay_all(reason=_reason(reason)))
        if as_json:
            show.json_value(done)
        else:
            show.out.print(
                f"{done.accepted} counted, {done.duplicates} known already, {len(done.refused)} refused"
            )
        if done.refused:
            raise typer.Exit(show.FAILED)
        return
    event = None if corrected is None else _read_event(corrected.read_bytes(), str(corrected))
    told = call(url, key, lambda client: client.usage.replay(id, event))
    if as_json:
        show.json_value(told)
    else:
        show.out.print(told.result)
        _show_refused([told] if told.result == "refused" else [])
    if told.result == "refused":
        raise typer.Exit(show.FAILED)


@app.command("correct")
def correct(
    source: Annotated[str, typer.Argument(help="The event's source, as the answer to its report named it.")],
    event: Annotated[str, typer.Argument(help="The event's id.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    quantity: Annotated[
        str | None, typer.Option(help="What counts instead; without it the event counts for nothing.")
    ] = None,
    id: Annotated[str | None, typer.Option(help="Yours; the same again is booked once.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Correct an event that was counted: another quantity, or none at all."""
    amount = None if quantity is None else _number(quantity)

    async def book(client: Client) -> Any:
        if amount is None:
            return await client.usage.void(source, event, reason=reason, id=id)
        return await client.usage.amend(source, event, amount, reason=reason, id=id)

    booked = call(url, key, book)
    if as_json:
        show.json_value(booked)
    else:
        show.out.print(
            f"{booked.meter} {_plain(booked.difference)}; it counts for {_plain(booked.quantity)} now"
        )


@app.command("export")
def export(
    start: Annotated[
        datetime, typer.Option("--from", parser=_moment, metavar="TIME", help="Start, with its zone.")
    ],
    end: Annotated[datetime, typer.Option("--to", parser=_moment, metavar="TIME", help="End, not included.")],
    out: Annotated[Path, typer.Option(help="Where to write it.", dir_okay=False)],
    what: Annotated[str, typer.Option(help="events, hourly or daily.")] = "events",
    format: Annotated[
        str | None, typer.Option(help="parquet or csv; by default what the file's name ends in.")
    ] = None,
    meter: Meter = None,
    package: Package = None,
    deployment: Deployment = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Write usage into a file: single events, or totals by hour or day (UTC)."""
    kind = _one_of(what, get_args(ExportKind), "--what")
    written = _one_of(format or out.suffix.removeprefix("."), get_args(ExportFormat), "--format")

    async def done(client: Client) -> Any:
        asked = await client.usage.export(
            start=start,
            end=end,
            what=cast(ExportKind, kind),
            format=cast(ExportFormat, written),
            meter=meter,
            package=package,
            deployment=deployment,
        )
        show.note(f"{asked.id} {asked.state}")
        found = await client.usage.wait_for_export(asked.id)
        if found.state == "succeeded":
            await client.usage.download_export(found, out)
        return found

    found = call(url, key, done)
    if found.state != "succeeded":
        show.fail(f"{found.id} {found.state}" + (f": {found.error}" if found.error else ""))
    if as_json:
        show.json_value(found)
    else:
        show.out.print(f"{found.rows_done} rows in {out}")


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """What tells a CloudEvent from a short event."""

    specversion: str | None = None


def _read_events(file: str) -> Iterator[UsageEvent | msgspec.Raw]:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE") from error
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield _read_event(line, f"{file}, line {number}")


def _read_event(line: bytes, where: str) -> UsageEvent | msgspec.Raw:
    try:
        if msgspec.json.decode(line, type=_Line).specversion is not None:
            return msgspec.Raw(line.strip())
        return msgspec.json.decode(line, type=UsageEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{where} is no event: {error}", param_hint="FILE") from error


def _show_refused(items: list[IngestedEvent]) -> None:
    if items:
        show.table(
            ("refused", "event", "reason", "what to change"),
            [(item.refused or "", item.id, item.reason or "", item.detail) for item in items],
        )


def _reason(given: str | None) -> RefusalReason | None:
    if given is None:
        return None
    return cast(RefusalReason, _one_of(given, get_args(RefusalReason), "--reason"))


def _one_of(given: str, known: tuple[str, ...], option: str) -> str:
    if given not in known:
        raise typer.BadParameter(f"{given!r} is none of {', '.join(known)}.", param_hint=option)
    return given


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise typer.BadParameter(f"{text!r} is no number.", param_hint="--quantity") from error


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "-" if value is None else str(value)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
