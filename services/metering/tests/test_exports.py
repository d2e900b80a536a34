"""Exports on a real database and folder: every row once, exact, whatever dies on the way."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from agora_contracts.exports import (
    CancelUsageExport,
    ExportFormat,
    ExportKind,
    GetUsageExport,
    ListUsageExports,
    RequestUsageExport,
    UsageExport,
)
from agora_contracts.files import DeleteFile, File, RegisterFile
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import CorrectUsage
from agora_kit.database import Database
from agora_kit.objects import FolderObjects
from agora_metering.corrections.service import correct
from agora_metering.exports import reading
from agora_metering.exports import service as exports_module
from agora_metering.exports.service import Exports
from agora_metering.totals.service import roll
from agora_metering.usage.service import take_in
from sqlalchemy import text

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
MARCH = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))


class Execution:
    """Keeps records of files as execution does; `refusal` is raised instead when set."""

    def __init__(self) -> None:
        self.files: dict[str, RegisterFile] = {}
        self.refusal: AgoraError | None = None

    async def ask(self, command: Any) -> Any:
        """Register or delete a file."""
        if self.refusal is not None:
            raise self.refusal
        if isinstance(command, RegisterFile):
            self.files[command.file] = command
        else:
            assert isinstance(command, DeleteFile)
            if self.files.pop(command.file, None) is None:
                raise AgoraError("not_found", "no such file")
        return File(
            id=command.file,
            tenant=command.tenant,
            name="",
            size=0,
            sha256="",
            content_type="",
            created_at=NOON,
        )


@pytest.fixture
def execution() -> Execution:
    """Who owns files."""
    return Execution()


@pytest.fixture
def exports(database: Database, execution: Execution, tmp_path: Path) -> Exports:
    """Exports whose lease runs out at once when they die."""
    return Exports(
        database,
        execution.ask,
        FolderObjects(tmp_path),
        retention_days=7,
        progress_seconds=0.02,
        lease_seconds=0.3,
    )


def a_request(name: str = "one", **changes: Any) -> RequestUsageExport:
    """An export of March."""
    fields: dict[str, Any] = {
        "id": derived("exp", name),
        "tenant": "ten_1",
        "what": "events",
        "format": "csv",
        "start": MARCH[0],
        "end": MARCH[1],
    }
    return RequestUsageExport(**(fields | changes))


async def done(exports: Exports, request: RequestUsageExport, state: str = "succeeded") -> UsageExport:
    """The export, once it has come to this state; it is worked on meanwhile."""
    async with asyncio.timeout(20):
        while True:
            await exports.work()
            shown = await exports.get(GetUsageExport(id=request.id, tenant=request.tenant))
            if shown.state == state:
                return shown
            assert shown.state in ("queued", "running"), shown
            await asyncio.sleep(0.02)


async def until_counted(exports: Exports) -> UsageExport:
    """The export, once it is known how many rows it has."""
    async with asyncio.timeout(20):
        while True:
            shown = await exports.get(GetUsageExport(id=a_request().id, tenant="ten_1"))
            if shown.rows_total is not None:
                return shown
            await asyncio.sleep(0.01)


def content(tmp_path: Path, execution: Execution, shown: UsageExport) -> list[dict[str, Any]]:
    """The rows of an export's file, by column."""
    assert shown.file is not None
    record = execution.files[shown.file]
    raw = (tmp_path / record.tenant / record.file).read_bytes()
    assert len(raw) == record.size
    if shown.format == "csv":
        return list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(raw)).to_pylist()
    return found


def files_in(folder: Path) -> list[str]:
    """The names of all files that lie below a folder."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
async def used(database: Database, messages: Callable[..., Any]) -> Database:
    """A database with some usage of two tenants."""
    ours, theirs = messages(), messages("ten_2", "run_2")
    events = [
        ours.usage("e1", "0.1", time=NOON),
        ours.usage("e2", "999999999999999.000000000001", time=NOON + timedelta(minutes=5)),
        ours.usage(
            "e3", 4, "pages", time=NOON + timedelta(hours=1), dimensions={"b": 'say "hi",\n', "a": "ü"}
        ),
        ours.usage("e4", 8, time=NOON + timedelta(days=1), run=None, deployment=None, package=None),
        ours.usage("e5", 16, time=MARCH[1]),
        ours.usage("e6", 32, time=NOON, source="key:key_1#/x", run=None),
        theirs.usage("e7", 64),
    ]
    async with database.system() as connection:
        await take_in(connection, events)
    return database


@pytest.mark.parametrize("format", ["csv", "parquet"])
async def test_events_are_exported_exactly(
    used: Database, exports: Exports, execution: Execution, tmp_path: Path, format: ExportFormat
) -> None:
    """
    Every event of the span once, of the tenant alone, with every digit and character; amended as it counts, voided
    not at all.
    """
    for command in (
        CorrectUsage(
            tenant="ten_1", source="operator", id="c1", corrects_source="agora/execution", corrects_id="e1",
            kind="amend", quantity=Decimal("0.7"), reason="x", own_only=False,
        ),
        CorrectUsage(
            tenant="ten_1", source="key:key_1", id="c2", corrects_source="key:key_1#/x", corrects_id="e6",
            kind="void", reason="x",
        ),
    ):  # fmt: skip
        async with used.system() as connection:
            await correct(connection, command, NOON)
    request = a_request(format=format)
    asked = await exports.request(request)
    shown = await done(exports, request)
    rows = content(tmp_path, execution, shown)

    assert ("queued", "succeeded", 4, 4) == (asked.state, shown.state, shown.rows_done, shown.rows_total)
    assert shown.finished_at is not None and shown.expires_at is not None
    found = {row["id"]: row for row in rows}
    assert ["e1", "e2", "e3", "e4"] == sorted(found) and 4 == len(rows)
    assert [Decimal("0.7"), Decimal("999999999999999.000000000001"), 4, 8] == [
        Decimal(found[id]["quantity"]) for id in sorted(found)
    ]
    assert '{"a":"ü","b":"say \\"hi\\",\\n"}' == found["e3"]["dimensions"]
    expected: tuple[Any, ...] = (NOON, None, None, "run_1")
    if format == "csv":
        expected = ("2026-03-01T12:30:00Z", "", "", "run_1")
    assert expected == (found["e1"]["at"], found["e4"]["run"], found["e4"]["package"], found["e2"]["run"])


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (
            "hourly",
            [
                ("2026-03-01T12:00:00Z", "tasks", "1000000000000031.100000000001", "3"),
                ("2026-03-01T13:00:00Z", "pages", "4", "1"),
                ("2026-03-02T12:00:00Z", "tasks", "8", "1"),
            ],
        ),
        (
            "daily",
            [
                ("2026-03-01T00:00:00Z", "pages", "4", "1"),
                ("2026-03-01T00:00:00Z", "tasks", "1000000000000031.100000000001", "3"),
                ("2026-03-02T00:00:00Z", "tasks", "8", "1"),
            ],
        ),
    ],
)
async def test_totals_are_exported_whether_moved_or_not(
    used: Database,
    exports: Exports,
    execution: Execution,
    tmp_path: Path,
    what: ExportKind,
    expected: list[tuple[str, ...]],
    moved: bool,
) -> None:
    """
    Totals by hour and by day are those that a query tells, at once: what was counted and not moved yet is in them.
    """
    if moved:
        await roll(used)
    request = a_request(what=what)
    await exports.request(request)
    rows = content(tmp_path, execution, await done(exports, request))

    assert expected == [(row["start"], row["meter"], row["quantity"], row["events"]) for row in rows]


async def test_filters_and_an_empty_span(
    used: Database, exports: Exports, execution: Execution, tmp_path: Path
) -> None:
    """
    Only what was asked for is in the file; nothing at all is a file with its columns.
    """
    pages = a_request("pages", meter="pages", package="sorter", deployment="dep_1", format="parquet")
    none = a_request("none", start=datetime(2027, 1, 1, tzinfo=UTC), end=datetime(2027, 2, 1, tzinfo=UTC))
    for request in (pages, none):
        await exports.request(request)
    found = content(tmp_path, execution, await done(exports, pages))
    empty = await done(exports, none)

    assert ["e3"] == [row["id"] for row in found]
    assert ([], 0) == (content(tmp_path, execution, empty), empty.rows_total)


async def test_an_export_is_asked_for_once(used: Database, exports: Exports) -> None:
    """
    The same request again is the same export, also by eight at once; another one under its id conflicts.
    """
    shown = await asyncio.gather(*(exports.request(a_request()) for _ in range(8)))
    with pytest.raises(AgoraError) as refused:
        await exports.request(a_request(format="parquet"))

    assert 1 == len({(one.id, one.created_at) for one in shown})
    assert "idempotency_conflict" == refused.value.slug


async def test_a_tenant_has_so_many_exports_at_once(used: Database, exports: Exports) -> None:
    """
    The queue has a bound for each tenant; a cancelled one makes room.
    """
    for number in range(exports_module.OPEN_MAX):
        await exports.request(a_request(str(number)))
    with pytest.raises(AgoraError) as refused:
        await exports.request(a_request("more"))
    await exports.cancel(CancelUsageExport(id=a_request("0").id, tenant="ten_1"))
    await exports.request(a_request("more"))

    assert "quota_exceeded" == refused.value.slug
    page = await exports.page(ListUsageExports(tenant="ten_1", limit=8))
    rest = await exports.page(ListUsageExports(tenant="ten_1", limit=8, cursor=page.next_cursor))
    names = [*(str(number) for number in range(exports_module.OPEN_MAX)), "more"]
    assert [a_request(name).id for name in reversed(names)] == [one.id for one in [*page.items, *rest.items]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "exp_1"}, "/id"),
        ({"start": datetime(2026, 3, 1)}, "/start"),
        ({"end": MARCH[0]}, "/end"),
        ({"end": datetime(9999, 1, 1, tzinfo=UTC)}, "/end"),
        ({"meter": "a\0b"}, "/meter"),
    ],
)
async def test_an_export_that_makes_no_sense_is_refused(
    exports: Exports, changes: dict[str, Any], field: str
) -> None:
    """
    The refusal names the field.
    """
    with pytest.raises(AgoraError) as refused:
        await exports.request(a_request(**changes))

    assert ("invalid_input", [field]) == (
        refused.value.slug,
        [error.field for error in refused.value.problem.errors],
    )


async def test_other_tenants_do_not_see_an_export(used: Database, exports: Exports) -> None:
    """
    Neither to read nor to cancel.
    """
    await exports.request(a_request())
    id = a_request().id
    for asked in (
        exports.get(GetUsageExport(id=id, tenant="ten_2")),
        exports.cancel(CancelUsageExport(id=id, tenant="ten_2")),
    ):
        with pytest.raises(AgoraError) as refused:
            await asked
        assert "not_found" == refused.value.slug
    assert [] == (await exports.page(ListUsageExports(tenant="ten_2"))).items


# --- what dies on the way ------------------------------------------------------------------------


class Gate:
    """Holds an export up after its first piece, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self._pieces = reading.pieces
        monkeypatch.setattr(reading, "PIECE_ROWS", 1)
        monkeypatch.setattr(reading, "pieces", self.pieces)

    async def pieces(self, *arguments: Any) -> AsyncIterator[Any]:
        """The real pieces, with a wait behind the first."""
        async for rows in self._pieces(*arguments):
            yield rows
            self.reached.set()
            await self.opened.wait()


async def test_an_export_whose_process_died_is_taken_up_again(
    used: Database, exports: Exports, execution: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is begun again by whoever comes next; one file comes of it, with every row once, and nothing else lies about.
    """
    gate = Gate(monkeypatch)
    await exports.request(a_request())
    first = asyncio.create_task(exports.work())
    await gate.reached.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.opened.set()
    shown = await done(exports, a_request())

    assert 5 == len(content(tmp_path, execution, shown))
    assert [shown.file] == files_in(tmp_path)


async def test_progress_is_seen_while_it_is_made(
    used: Database, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Rows done and in all are told meanwhile, by another connection than the one that reads.
    """
    gate = Gate(monkeypatch)
    await exports.request(a_request())
    working = asyncio.create_task(exports.work())
    await gate.reached.wait()
    shown = await until_counted(exports)
    gate.opened.set()
    await working

    assert ("running", 5) == (shown.state, shown.rows_total)
    assert shown.rows_done in (0, 1)


async def test_a_cancelled_export_stops_and_leaves_nothing(
    used: Database, exports: Exports, execution: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever is at it notices, and neither file nor record stays; cancelling again changes nothing.
    """
    gate = Gate(monkeypatch)
    await exports.request(a_request())
    working = asyncio.create_task(exports.work())
    await gate.reached.wait()
    cancelled = [await exports.cancel(CancelUsageExport(id=a_request().id, tenant="ten_1")) for _ in range(2)]
    await working

    assert ["cancelled"] * 2 == [one.state for one in cancelled]
    assert cancelled[0].finished_at == cancelled[1].finished_at
    assert {} == execution.files
    assert [] == files_in(tmp_path)


async def test_an_export_over_quota_fails_with_the_reason(
    used: Database, exports: Exports, execution: Execution, tmp_path: Path
) -> None:
    """
    What no later attempt can mend ends the export, says why, and leaves no bytes.
    """
    await exports.request(a_request())
    execution.refusal = AgoraError("quota_exceeded", "the tenant's files would exceed their quota")
    shown = await done(exports, a_request(), "failed")

    assert shown.error is not None and "quota" in shown.error


async def test_an_execution_that_is_away_is_waited_for_so_often(
    used: Database, exports: Exports, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Five attempts, then the export fails; one that comes back in time gets its record.
    """
    monkeypatch.setattr(exports_module, "ATTEMPTS_MAX", 3)
    execution.refusal = AgoraError("unavailable", "away")
    await exports.request(a_request("never"))
    failed = await done(exports, a_request("never"), "failed")
    await exports.request(a_request("late"))
    await exports.work()
    execution.refusal = None
    late = await done(exports, a_request("late"))

    assert failed.error == "away"
    assert [late.file] == list(execution.files)


async def test_an_export_that_kills_whoever_takes_it_up_is_given_up(
    used: Database, exports: Exports, execution: Execution
) -> None:
    """
    No process lives to count its failure: after so many beginnings it fails, and others are done.
    """
    await exports.request(a_request("killer"))
    async with used.system() as connection:
        await connection.execute(
            text("UPDATE usage_exports SET state = 'running', leased_until = now(), attempts = :claims"),
            {"claims": exports_module.CLAIMS_MAX},
        )
    await exports.request(a_request("other"))
    failed = await done(exports, a_request("killer"), "failed")
    await done(exports, a_request("other"))

    assert failed.error is not None and "too often" in failed.error
    assert 1 == len(execution.files)


async def test_two_processes_share_the_work(used: Database, exports: Exports, execution: Execution) -> None:
    """
    Each export is done by one of them.
    """
    for number in range(6):
        await exports.request(a_request(str(number)))
    await asyncio.gather(*(exports.work() for _ in range(3)))

    assert 6 == len(execution.files)


async def test_files_of_exports_are_deleted_after_their_retention(
    database: Database, execution: Execution, tmp_path: Path
) -> None:
    """
    The export says that it expired; its file is gone.
    """
    exports = Exports(database, execution.ask, FolderObjects(tmp_path), retention_days=0)
    await exports.request(a_request())
    await exports.work()
    await exports.expire()
    shown = await exports.get(GetUsageExport(id=a_request().id, tenant="ten_1"))

    assert ("expired", None, {}) == (shown.state, shown.file, execution.files)
