"""The commands that start, watch and stop the platform of this checkout."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer
from rich.console import Console
from rich.table import Table

from agora_local.blocking import run_in_thread
from agora_local.first_party import publish_installed
from agora_local.first_tenant import ensure_first_tenant, mark_shown
from agora_local.health import ask_health
from agora_local.integrators import add_integrator
from agora_local.logs import follow, last_lines, log_names, sizes
from agora_local.memory import megabytes
from agora_local.parts import Nats, PartFailed
from agora_local.platform import Platform
from agora_local.reconciling import run_reconciliation, summary
from agora_local.settings import PlatformFailed, Ports, default_home, operator_token, postgres_folder
from agora_local.supervisor import State, is_home, prepare_home, read_state, stop_supervisor, supervise
from agora_local.unit import UnitState

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


def say(line: str) -> None:
    """Progress goes to standard error: standard output is for results."""
    print(line, file=sys.stderr, flush=True)


@app.command()
def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops.")] = False,
) -> None:
    """Start the platform and wait until it can work; prints where it answers."""
    home = default_home()
    state = read_state(home)
    if state is not None and state.phase == "stopping":
        say("The platform is being stopped; it starts again after that.")
        stop_supervisor(home)
        state = None
    if state is not None:
        say("The platform runs already.")
        # Again, since whoever started it may have been interrupted before, or was the demo.
        _announce(home, _wait_for_supervisor(home, None, state.pid, sizes(home / "logs")).ports)
        return
    ports = Ports.from_environment()
    if foreground:
        _run_attached(home, ports)
    else:
        start_in_background(home)
        _announce(home, ports)


@app.command()
def down() -> None:
    """Stop the platform; its data stays."""
    say("stopping" if read_state(default_home()) is not None else "The platform does not run.")
    if stop_supervisor(default_home()):
        say("stopped")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show every process. Exit code 0 when all can work, else 1."""
    state = read_state(default_home())
    rows = [] if state is None else _rows(default_home(), state)
    ready = (
        bool(rows)
        and state is not None
        and state.phase == "ready"
        and all(row["health"] == "ready" for row in rows)
    )
    if as_json:
        phase = "stopped" if state is None else state.phase
        print(json.dumps({"phase": phase, "ready": ready, "processes": rows}))
    elif state is None:
        say("The platform does not run. Start it with ./dev up")
    else:
        table = Table("name", "state", "health", "process", "restarts", "memory MB")
        for row in rows:
            table.add_row(*(str("" if value is None else value) for value in row.values()))
        Console().print(table)
    raise typer.Exit(0 if ready else 1)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="One part or process; all when left out.")] = None,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each log to begin with.")] = 50,
) -> None:
    """Show the logs as one stream."""
    folder = default_home() / "logs"
    if name is not None and name not in log_names(folder):
        raise PlatformFailed(
            f"there is no log of {name}; there are: {', '.join(log_names(folder)) or 'none yet'}"
        )

    def names() -> list[str]:
        return log_names(folder) if name is None else [name]

    def show(source: str, line: str) -> None:
        print(line if name else f"{source:<11} | {line}", flush=True)

    for source, line in last_lines(folder, names(), lines):
        show(source, line)
    if following:
        for source, line in follow(folder, names):
            show(source, line)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop the platform and delete all its data."""
    home = default_home()
    if not home.exists():
        say("There is no data.")
        return
    if not is_home(home):
        raise PlatformFailed(f"{home} is not a data folder of Agora; nothing was deleted")
    if not yes:
        if not sys.stdin.isatty():
            raise PlatformFailed("nobody can be asked here; add --yes to delete all data")
        typer.confirm(f"Delete all data in {home}?", abort=True)
    stop_supervisor(home)
    data = postgres_folder(home)
    if data.parent != home:
        shutil.rmtree(data.parent)
    shutil.rmtree(home)
    say(f"deleted {home}")


@app.command()
def demo(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False) -> None:
    """Start what is needed, run three agents on real input, and check every charge against the ledger."""
    from agora_local.demo.run import run_demo
    from agora_local.demo.show import show

    home = default_home()
    ports = Ports.from_environment()
    if (state := read_state(home)) is not None:
        ports = _wait_for_supervisor(home, None, state.pid, sizes(home / "logs")).ports
    else:
        start_in_background(home)
    api_url, token = f"http://127.0.0.1:{ports.api}", operator_token(home)
    publish_installed(home, api_url, token, say)
    tenant = ensure_first_tenant(home, api_url, token)
    outcome = asyncio.run(run_demo(api_url, str(tenant.key), Path.cwd(), say))
    if as_json:
        line = {"demo": "agents", "passed": outcome.passed, "problems": outcome.problems} | {
            name: value for name, value in msgspec.to_builtins(outcome).items() if name != "statement"
        }
        print(msgspec.json.encode(line).decode(), flush=True)
    else:
        show(outcome)
    raise typer.Exit(0 if outcome.passed else 1)


@app.command("verify")
def verify_books(
    account: Annotated[str | None, typer.Option(help="Look at this account alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
) -> None:
    """Recompute billing's books from every row, hashes included. Exit code 0 when all agrees."""
    home = default_home()
    state = read_state(home)
    if state is None:
        raise PlatformFailed("the platform does not run; start it with ./dev up")
    urls = Platform(home, state.ports).database_urls("billing")
    asked = [*(["--account", account] if account else []), *(["--json"] if as_json else [])]
    # A process of its own: it needs nothing of what this one has loaded, and its progress goes to our terminal.
    done = subprocess.run(
        [sys.executable, "-m", "agora_billing.verify", *asked],
        env=os.environ | {"AGORA_DATABASE_SYSTEM_URL": urls.system},
        check=False,
    )
    raise typer.Exit(done.returncode)


@app.command()
def reconcile(
    since: Annotated[str, typer.Option(help="RFC 3339, or hours ago such as 24h.")] = "24h",
    tenant: Annotated[str | None, typer.Option(help="Look at this tenant's usage alone.")] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that things may be on their way.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare recorded usage, stream, counts, totals, charges, holds and ledger. Exit code 0 when all agree."""
    home = default_home()
    state = read_state(home)
    if state is None:
        raise PlatformFailed("the platform does not run; start it with ./dev up")
    api_url = f"http://127.0.0.1:{state.ports.api}"
    found = run_reconciliation(api_url, operator_token(home), since, tenant, grace)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        print(summary(found))
    raise typer.Exit(1 if found.differences else 0)


@app.command()
def integrator(
    tenant: Annotated[str, typer.Argument(help="Whose usage it reports (ten_...).")],
    source: Annotated[str, typer.Argument(help="Its name: letters, digits, _ and -.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let somebody report usage of a tenant over NATS; prints the URL with its password, and where to publish."""
    home = default_home()
    state = read_state(home)
    if state is None:
        raise PlatformFailed("the platform does not run; start it with ./dev up")
    added = add_integrator(home, state, tenant, source)
    if as_json:
        print(json.dumps(asdict(added)))
    else:
        print(f"URL      {added.url}\nSubject  {added.subject}\nInbox    {added.inbox_prefix} (inbox prefix)")


@app.command("supervise", hidden=True)
def _supervise() -> None:
    supervise(default_home(), Ports.from_environment(), say)


def start_in_background(home: Path) -> None:
    """Start the supervisor detached from this terminal and wait until everything can work, with progress.

    Raises:
        PlatformFailed: it did not come up; its messages were printed.
    """
    prepare_home(home)
    log = home / "logs" / "supervisor.log"
    log.parent.mkdir(exist_ok=True)
    begin = sizes(log.parent)
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "agora_local", "supervise"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for_supervisor(home, supervisor, supervisor.pid, begin)
    except KeyboardInterrupt:
        say("stopping")
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait()
        raise


def _wait_for_supervisor(
    home: Path, process: subprocess.Popen[bytes] | None, pid: int, begin: Mapping[str, int]
) -> State:
    """Show the supervisor's messages until it says ready."""
    ended = threading.Event()
    found: list[State] = []

    def done() -> bool:
        state = read_state(home)
        if state is not None and state.pid == pid and state.phase == "ready":
            found.append(state)
            return True
        if not (psutil.pid_exists(pid) if process is None else process.poll() is None):
            ended.set()
        return ended.is_set()

    for _, line in follow(home / "logs", lambda: ["supervisor"], begin=begin, stop=done):
        say(line)
    if not found:
        raise PlatformFailed("The platform did not start; see above.")
    return found[-1]


def _run_attached(home: Path, ports: Ports) -> None:
    ending = threading.Event()

    def show_logs() -> None:
        for source, line in follow(home / "logs", lambda: log_names(home / "logs"), stop=ending.is_set):
            print(f"{source:<11} | {line}", flush=True)

    printer = threading.Thread(target=show_logs, daemon=True)
    printer.start()
    try:
        supervise(home, ports, say, on_ready=lambda platform: _announce(home, platform.ports))
    finally:
        ending.set()
        printer.join()


def _announce(home: Path, ports: Ports) -> None:
    api_url, token = f"http://127.0.0.1:{ports.api}", operator_token(home)
    publish_installed(home, api_url, token, say)
    tenant = ensure_first_tenant(home, api_url, token)
    _print_urls(ports)
    if not tenant.shown:
        print(f"Tenant  {tenant.tenant_id}, with 100 USD of credit")
        print(f"Key     {tenant.key} (shown only now)", flush=True)
        mark_shown(home, tenant)


def _print_urls(ports: Ports) -> None:
    print(
        f"API     http://127.0.0.1:{ports.api}/api/v1\n"
        f"Docs    http://127.0.0.1:{ports.api}/api/v1/docs\n"
        f"Runs    http://127.0.0.1:{ports.temporal_ui} (Temporal)\n"
        f"NATS    http://127.0.0.1:{ports.nats_monitor} (monitoring)",
        flush=True,
    )


def _rows(home: Path, state: State) -> list[dict[str, Any]]:
    parts = ("postgres", "nats", "temporal")
    ours = [unit.name for unit in state.units if unit.name not in parts]
    broker = Nats(home / "nats", state.ports.nats, state.ports.nats_monitor)
    health = run_in_thread(ask_health(broker.url, ours))
    return [_row(unit, health.get(unit.name)) for unit in state.units]


def _row(unit: UnitState, health: str | None) -> dict[str, Any]:
    answer = health or ("ready" if unit.state == "running" else "away")
    return {
        "name": unit.name,
        "state": unit.state,
        "health": answer,
        "pid": unit.pid,
        "restarts": unit.restarts,
        "memory_mb": None if unit.pid is None else megabytes(unit.pid),
    }


def main() -> None:
    """Run a command; what a person can mend is a message, not a traceback."""
    try:
        app()
    except (PlatformFailed, PartFailed) as error:
        say(f"Error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
