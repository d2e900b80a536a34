"""The commands of a customer (packages, hire, execute, runs, receipt, balance, statement), and publish."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import stamina
import typer

from agora.cli import show
from agora.cli.inputs import read_json
from agora.cli.prices import price_text
from agora.cli.uploads import upload_all
from agora.client import ApiError, Client, ConnectionFailed
from agora.client.runs import Run
from agora.client.text import Texts
from agora.client.types import PublicMoney, RunEvent, RunState
from agora.errors import AgentDefinitionError
from agora.loading import load_agent

Cursor = Annotated[str | None, typer.Option("--cursor", help="Where the page before ended.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
Url = Annotated[
    str | None, typer.Option("--url", help="The platform's address (AGORA_URL, else http://127.0.0.1:8000).")
]
Key = Annotated[str | None, typer.Option("--key", help="The API key (AGORA_API_KEY).")]
FilesGiven = Annotated[
    list[str] | None,
    typer.Option(
        "--file", help="NAME=PATH: upload a file and put it into the input; NAME[]=PATH into a list."
    ),
]


def packages(
    search: Annotated[str | None, typer.Option(help="Full text.")] = None,
    category: Annotated[str | None, typer.Option(help="Such as it-devops.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List the packages on offer."""
    page = call(url, key, lambda client: client.packages.list(search=search, category=category, limit=200))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("package", "version", "state", "prices", "summary"),
        [
            (
                item.id,
                item.version,
                item.state,
                ", ".join(price_text(price) for price in item.prices),
                item.summary,
            )
            for item in page.items
        ],
    )


def hire(
    package: Annotated[str, typer.Argument(help="The package's id.")],
    basis: Annotated[str, typer.Option(help="What the price goes by, such as task.")],
    config: Annotated[str, typer.Option(help="The configuration: JSON, or @FILE.")] = "{}",
    files: FilesGiven = None,
    name: Annotated[str | None, typer.Option(help="A name of your own.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key hires once.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Hire a package with a configuration; its id then takes runs. A --file goes into the configuration."""
    configured = _object(config, "--config")

    async def start(client: Client) -> Any:
        await _upload_all(client, files or [], configured, once=idempotency_key is not None)
        return await client.deployments.start(
            package, basis=basis, config=configured, name=name, idempotency_key=idempotency_key
        )

    deployment = call(url, key, start)
    if as_json:
        show.json_value(deployment)
    else:
        show.out.print(f"{deployment.id} {deployment.package} {deployment.version} {deployment.status}")


def execute(
    target: Annotated[str, typer.Argument(help="A package's id, or a deployment's (dep_…).")],
    given: Annotated[str, typer.Option("--input", help="The input: JSON, or @FILE.")] = "{}",
    files: FilesGiven = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its charge.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key gives the same run.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="What the run may cost at most, such as 0.50.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Start a run. With --watch: follow it, print its output, and end with 1 unless it succeeded.

    A command that loses sight of the run, which goes on, ends with 3; one that is interrupted with 130.
    """
    run_input = _object(given, "--input")

    async def start(client: Client) -> RunState:
        await _upload_all(client, files or [], run_input, once=idempotency_key is not None)
        limit = None if max_cost is None else PublicMoney(amount=max_cost)
        run = await client.execute(target, run_input, idempotency_key=idempotency_key, max_cost=limit)
        show.note(f"{run.id} {run.state.status}, at most {_money(run.state.quoted)}")
        return await _watch(run) if watch else run.state

    state = call(url, key, start)
    if as_json:
        show.json_value(state)
    elif state.output is not None:
        show.json_pretty(state.output)
    elif not watch:
        show.out.print(state.id)
    if watch and not state.succeeded:
        reason = f": {state.error.detail} ({state.error.code})" if state.error else ""
        show.fail(f"{state.id} {state.status}{reason}")


def runs(
    run: Annotated[str | None, typer.Argument(help="A run's id; all runs by default.")] = None,
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first, or show one with its steps."""
    if run is not None:
        _show_run(run, url, key, as_json)
        return
    page = call(url, key, lambda client: client.runs.list(cursor=cursor))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("run", "package", "status", "accepted", "cost"),
        [
            (item.id, item.package, item.status, f"{item.accepted_at:%Y-%m-%d %H:%M:%S}", _money(item.cost))
            for item in page.items
        ],
    )
    show.more(page.next_cursor)


def pause(
    run: Annotated[str, typer.Argument(help="A run's id.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let a run rest after the step at hand."""
    _show_state(call(url, key, lambda client: client.runs.pause(run)), as_json)


def resume(
    run: Annotated[str, typer.Argument(help="A run's id.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let a paused run go on."""
    _show_state(call(url, key, lambda client: client.runs.resume(run)), as_json)


def cancel(
    run: Annotated[str, typer.Argument(help="A run's id.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Ask a run to stop; what it has not delivered costs nothing."""
    _show_state(call(url, key, lambda client: client.runs.cancel(run)), as_json)


def _show_state(state: RunState, as_json: bool) -> None:
    if as_json:
        show.json_value(state)
    else:
        show.out.print(f"{state.id} {state.status}")


def receipt(
    run: Annotated[str, typer.Argument(help="A run's id.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run was quoted and charged, line by line, and why they differ."""
    found = call(url, key, lambda client: client.runs.receipt(run))
    if as_json:
        show.json_value(found)
        return
    settled = found.settled_at is not None
    show.out.print(f"{found.run} {found.state}: {found.explanation}")
    show.table(
        ("charged for" if settled else "quoted for", "quantity", "unit price", "amount"),
        [
            (line.description, f"{line.quantity:f}", f"{line.unit_price:f}", f"{line.amount:f}")
            for line in (found.lines if settled else found.quote_lines)
        ],
    )
    show.out.print(f"charged {_money(found.charged)} of {_money(found.quoted)} quoted")
    if found.differences:
        show.table(
            ("meter", "quoted", "charged", "why"),
            [(one.meter, f"{one.quoted:f}", f"{one.charged:f}", one.why) for one in found.differences],
        )
    if found.calls:
        show.out.print(f"the runs that it called were charged {_money(found.calls_charged)} by themselves")
        show.table(
            ("called run", "package", "state", "held", "charged"),
            [(one.run, one.package, one.state, _money(one.held), _money(one.charged)) for one in found.calls],
        )
    if found.refunds:
        show.out.print(f"refunded {_money(found.refunded)} of it")
        show.table(
            ("at", "refunded", "reason"),
            [(f"{one.at:%Y-%m-%d %H:%M:%S}", _money(one.amount), one.reason) for one in found.refunds],
        )


def balance(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Show the account's credit, what is held, and what is available."""
    found = call(url, key, lambda client: client.account.balance())
    if as_json:
        show.json_value(found)
        return
    amounts = {
        "credit": found.credit,
        "promotional": found.promotional,
        "held": found.held,
        "available": found.available,
    }
    show.table(("", "amount"), [(name, _money(amount)) for name, amount in amounts.items()])


def statement(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Show the account's postings, newest first."""
    found = call(url, key, lambda client: client.account.statement())
    if as_json:
        show.json_value(found)
        return
    show.table(
        ("at", "kind", "description", "amount", "balance"),
        [
            (
                f"{line.at:%Y-%m-%d %H:%M:%S}",
                line.kind,
                line.description,
                _money(line.amount),
                _money(line.balance),
            )
            for line in found.items
        ],
    )
    show.out.print(f"credit {_money(found.balance.credit)}, sum of all postings {_money(found.entries_sum)}")


def publish(
    folder: Annotated[Path, typer.Argument(help="The agent's folder.", metavar="DIR")] = Path(),
    token: Annotated[str | None, typer.Option(help="The operator's token (AGORA_OPERATOR_TOKEN).")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Publish an agent's version in the catalogue. The same contents again change nothing."""
    secret = token or os.environ.get("AGORA_OPERATOR_TOKEN")
    if not secret:
        show.fail("Publishing needs the operator's token: --token or AGORA_OPERATOR_TOKEN.", show.MISUSED)
    try:
        agent = load_agent(folder)
    except AgentDefinitionError as error:
        show.fail(str(error))
    published = call(url, secret, lambda client: client.operator.publish(agent.manifest, agent.schemas))
    if as_json:
        show.json_value(published)
    else:
        show.out.print(f"Published {agent.id} {agent.manifest.version}.{_missing(published)}")


def _missing(published: dict[str, Any]) -> str:
    """What still keeps customers from running what was published, if anything does."""
    state = published.get("state", "published")
    if state == "draft":
        return ' It is a draft, which nobody else sees: raise its version and set state = "published" to list it.'
    if state == "published" and not published.get("executable", True):
        return " It is listed; it can be run once it is installed beside the platform (see the guide)."
    return ""


def call[Result](url: str | None, key: str | None, work: Callable[[Client], Awaitable[Result]]) -> Result:
    """Run one piece of work against the platform; what goes wrong ends the command with its reason."""

    async def connected() -> Result:
        async with Client(url, key) as client:
            return await work(client)

    # Its default hook writes to stdout, which belongs to the answer.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        return asyncio.run(connected())
    except ApiError as error:
        if error.status == 401:
            show.fail(f"{error} Give a key with --key or AGORA_API_KEY.")
        show.fail(str(error))
    except ConnectionFailed as error:
        show.fail(str(error))
    except OSError as error:
        show.fail(f"{error.filename}: {error.strerror}")


async def _watch(run: Run) -> RunState:
    try:
        return await _followed(run)
    except asyncio.CancelledError:
        show.note(f"{run.id} goes on: `agora runs {run.id}` shows it, `agora cancel {run.id}` ends it")
        raise
    except ConnectionFailed as error:
        show.fail(f"{error} The run goes on: `agora runs {run.id}` shows it.", show.LOST)


async def _followed(run: Run) -> RunState:
    texts = Texts()
    seen = ""
    async for event in run.events():
        if texts.add(event):
            answer = texts.answer
            # A text that was begun anew, or seen only in part, is shown once more.
            show.piece(answer.removeprefix(seen) if answer.startswith(seen) else f"\n{answer}")
            seen = answer
        elif told := _told(event):
            show.note(told)
    return await run.wait()


def _told(event: RunEvent) -> str:
    data = event.data
    match event.type:
        case "step.recorded":
            return f"done: {data.get('title', data.get('node', ''))}"
        case "progress":
            return f"  {data.get('message', '')}"
        case "tool_use_start":
            return f"  uses {data.get('title') or data.get('tool_name', '')}"
        case "tool_use_complete" if data.get("error"):
            return f"  {data.get('tool_name', '')} failed: {data['error']}"
        case "content_delta" | "content_snapshot" | "tool_use_complete":
            return ""
        case "lagged":
            return f"  {data.get('messages', 0)} live messages were skipped"
    return event.type


def _show_run(run: str, url: str | None, key: str | None, as_json: bool) -> None:
    async def both(client: Client) -> tuple[RunState, Any]:
        return await client.runs.get(run), await client.runs.steps(run)

    state, steps = call(url, key, both)
    if as_json:
        show.json_value({"run": state, "steps": steps})
        return
    show.out.print(f"{state.id} {state.package} {state.version} {state.status} cost {_money(state.cost)}")
    show.table(
        ("#", "step", "visit", "attempt", "seconds", "usage"),
        [
            (
                str(step.seq),
                step.title,
                str(step.visit),
                str(step.attempt),
                f"{(step.finished_at - step.started_at).total_seconds():.3f}",
                ", ".join(f"{used.quantity.normalize():f} {used.meter}" for used in step.usage),
            )
            for step in steps
        ],
    )
    if state.error is not None:
        show.note(f"{state.error.code}: {state.error.detail}")
    if state.output is not None:
        show.json_pretty(state.output)


async def _upload_all(client: Client, files: list[str], into: dict[str, Any], *, once: bool) -> None:
    names, paths = [], []
    for entry in files:
        name, separator, path = entry.partition("=")
        if not (name and separator and path):
            raise typer.BadParameter(f"{entry!r} is not NAME=PATH.", param_hint="--file")
        if name.endswith("[]") and not isinstance(into.setdefault(name.removesuffix("[]"), []), list):
            raise typer.BadParameter(f"{name!r}: the field is no list.", param_hint="--file")
        names.append(name)
        paths.append(Path(path))
    for name, uploaded in zip(names, await upload_all(client, paths, once=once), strict=True):
        if name.endswith("[]"):
            into[name.removesuffix("[]")].append(uploaded)
        else:
            into[name] = uploaded


def _object(value: str, option: str) -> dict[str, Any]:
    read = read_json(value, option)
    if not isinstance(read, dict):
        raise typer.BadParameter("this must be a JSON object.", param_hint=option)
    return read


def _money(money: PublicMoney | None) -> str:
    return "-" if money is None else f"{money.amount} {money.currency}"
