"""`agora swarm`: let many agents work on one goal, and see what they do."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from agora.cli import show
from agora.cli.customer import AsJson, Cursor, Key, Url, call
from agora.cli.inputs import read_json
from agora.cli.uploads import upload_all
from agora.client import Client
from agora.client.swarms import Swarm
from agora.client.types import PublicMoney

app = typer.Typer(help="Let many agents work on one goal.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The swarm's id (run_…).")]
AgentsMax = Annotated[int | None, typer.Option(help="The most agents, 3 to 200.")]
Concurrency = Annotated[int | None, typer.Option(help="How many of them work at once.")]
Budget = Annotated[str | None, typer.Option(help="The most USD that the agents may cost, such as 2.00.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end.")]
IdempotencyKey = Annotated[str | None, typer.Option(help="The same key starts it once.")]

FILES_MAX = 2_000
SKIPPED = frozenset({".git", ".venv", "node_modules", "__pycache__"})


@app.command("audit")
def audit(
    folder: Annotated[Path, typer.Argument(help="The folder.", exists=True, file_okay=False)],
    pattern: Annotated[str, typer.Option(help="Which files, such as '**/*.yaml'.")] = "**/*",
    agents_max: AgentsMax = None,
    concurrency: Concurrency = None,
    budget: Budget = None,
    watch: Watch = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Audit the configuration files of a folder: upload them and start a swarm on them."""
    paths = files_of(folder, pattern)
    if not paths:
        show.fail(f"No file in {folder} fits {pattern!r}.", show.MISUSED)
    if len(paths) > FILES_MAX:
        show.fail(f"{len(paths)} files fit {pattern!r}, at most {FILES_MAX} go into one swarm.", show.MISUSED)

    async def start(client: Client) -> Swarm:
        ids = await upload_all(client, paths, once=idempotency_key is not None)
        files = [
            {"file": file, "path": path.relative_to(folder).as_posix()}
            for file, path in zip(ids, paths, strict=True)
        ]
        return await _start(
            client, {"kind": "audit", "files": files}, agents_max, concurrency, budget, idempotency_key, watch
        )

    _show(call(url, key, start), as_json)


@app.command("start")
def start_swarm(
    goal: Annotated[str, typer.Argument(help="The goal: JSON, or @FILE.")],
    agents_max: AgentsMax = None,
    concurrency: Concurrency = None,
    budget: Budget = None,
    watch: Watch = False,
    idempotency_key: IdempotencyKey = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Start a swarm on any goal."""
    read = read_json(goal, "GOAL")
    if not isinstance(read, dict):
        raise typer.BadParameter("this must be a JSON object.", param_hint="GOAL")
    found = call(
        url,
        key,
        lambda client: _start(client, read, agents_max, concurrency, budget, idempotency_key, watch),
    )
    _show(found, as_json)


@app.command("list")
def listed(cursor: Cursor = None, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the swarms, newest first."""
    page = call(url, key, lambda client: client.swarms.list(cursor=cursor))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("swarm", "status", "accepted", "cost"),
        [
            (one.id, one.status, f"{one.accepted_at:%Y-%m-%d %H:%M:%S}", _money(one.cost))
            for one in page.items
        ],
    )
    show.more(page.next_cursor)


@app.command("show")
def show_swarm(
    swarm: Id,
    agents: Annotated[bool, typer.Option("--agents", help="List every agent.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show a swarm: how far its phases are, and what it found."""
    _show(call(url, key, lambda client: client.swarms.get(swarm)), as_json, agents=agents)


@app.command("findings")
def findings(
    swarm: Id,
    topic: Annotated[
        str, typer.Option(help="finding, vote, verdict, remedy, answer, inventory.")
    ] = "finding",
    cursor: Cursor = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what stands on a swarm's blackboard."""
    page = call(url, key, lambda client: client.swarms.findings(swarm, topic=topic, cursor=cursor, limit=200))
    if as_json:
        show.json_value(page)
        return
    show.table(
        ("severity", "rule", "about", "claim"),
        [(one.severity, one.rule, one.about, one.claim) for one in page.items],
    )
    show.more(page.next_cursor)


@app.command("cancel")
def cancel(swarm: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Ask a swarm and all its agents to stop."""
    _show(call(url, key, lambda client: client.swarms.cancel(swarm)), as_json)


def files_of(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that fit, by path; nothing of version control or installed packages, no links."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.is_file() and not path.is_symlink() and not SKIPPED & set(path.relative_to(folder).parts)
    )


async def _start(
    client: Client,
    goal: dict[str, Any],
    agents_max: int | None,
    concurrency: int | None,
    budget: str | None,
    idempotency_key: str | None,
    watch: bool,
) -> Swarm:
    swarm = await client.swarms.start(
        goal,
        agents_max=agents_max,
        concurrency=concurrency,
        budget=budget,
        idempotency_key=idempotency_key,
    )
    show.note(f"{swarm.id} {swarm.status}, at most {_money(swarm.quoted)}")
    if not watch:
        return swarm
    seen = ""
    while True:
        swarm = await client.swarms.get(swarm.id)
        told = ", ".join(
            f"{phase.role} {phase.done}/{phase.planned}" for phase in swarm.phases if phase.planned
        )
        if told != seen:
            show.note(told)
            seen = told
        if swarm.ended:
            return swarm
        await asyncio.sleep(1)


def _show(swarm: Swarm, as_json: bool, *, agents: bool = False) -> None:
    if as_json:
        show.json_value(swarm)
        return
    waits = f" (waits for {swarm.waiting_for})" if swarm.waiting_for else ""
    show.out.print(f"{swarm.id} {swarm.status}{waits}")
    if swarm.phases:
        show.table(
            ("phase", "role", "planned", "working", "done", "failed"),
            [
                (one.phase, one.role, *map(str, (one.planned, one.working, one.done, one.failed)))
                for one in swarm.phases
            ],
        )
    if agents:
        show.table(
            ("agent", "role", "status", "cost", "what"),
            [(one.run, one.role, one.status, _money(one.cost), one.title) for one in swarm.agents],
        )
    if swarm.output:
        show.out.print(str(swarm.output.get("summary", "")))
        for statement in swarm.output.get("statements", []):
            show.out.print(f"- {statement['text']}")
    if swarm.error is not None:
        show.fail(f"{swarm.error.code}: {swarm.error.detail}")


def _money(money: PublicMoney | None) -> str:
    return "-" if money is None else f"{money.amount} {money.currency}"
