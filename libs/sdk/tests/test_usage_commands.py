"""Usage in the client and in the command, against a server that answers and fails as scripted."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora
import msgspec
import pytest
from agora.cli import app, show
from agora.client import UsageEvent
from agora.client import usage as usage_module
from typer.testing import CliRunner

from .scripted_platform import Answer, Platform, a_problem

AT = "2026-01-05T09:00:00Z"
ACCEPTED = {"id": "e1", "source": "key:key_1#/", "result": "accepted", "from_the_future": 1}
REFUSED = {
    "id": "e2", "source": "key:key_1#/", "result": "refused", "reason": "unknown_meter",
    "detail": "no meter reads it", "refused": "ref_1",
}  # fmt: skip
CORRECTION = {
    "id": "c1", "source": "key:key_1", "corrects_id": "e1", "corrects_source": "key:key_1#/", "kind": "amend",
    "meter": "rain", "quantity": "2.50", "difference": "-0.50", "reason": "x", "at": AT,
}  # fmt: skip


def a_report(*items: dict[str, Any]) -> Answer:
    """What became of some events."""
    results = [item["result"] for item in items]
    counts = {"accepted": results.count("accepted"), "duplicates": 0, "refused": results.count("refused")}
    return Answer(200, counts | {"items": list(items)})


def an_export(state: str, **more: Any) -> Answer:
    """An export in a state."""
    fields = {
        "id": "exp_1", "what": "events", "format": "csv", "start": AT, "end": AT, "state": state, "created_at": AT
    }  # fmt: skip
    return Answer(200, fields | more)


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `agora usage …` against the scripted platform."""
    monkeypatch.setenv("AGORA_URL", platform.url)
    monkeypatch.setenv("AGORA_API_KEY", "ak_env")
    monkeypatch.setattr(show.out, "width", 200)
    monkeypatch.setattr(usage_module, "_POLL_SECONDS", 0.0)

    def run(*arguments: object, stdin: bytes | None = None) -> Any:
        words = ["usage", *(str(argument) for argument in arguments)]
        return CliRunner().invoke(app, words, catch_exceptions=False, input=stdin)

    return run


# --- the client ----------------------------------------------------------------------------------


async def test_events_are_sent_as_cloud_events(platform: Platform, client: agora.Client) -> None:
    """
    Exact numbers as decimal strings, and nothing that was not given; a whole CloudEvent goes on as it is.
    """
    platform.on("POST /usage/events", a_problem(503, "unavailable"), a_report(ACCEPTED))
    whole = msgspec.Raw(b'{"specversion":"1.0","data":{"quantity":0.10}}')
    full = UsageEvent(
        id="e1",
        meter="rain",
        quantity=Decimal("1E+3"),
        source="/s",
        time=datetime(2026, 1, 5, 9, tzinfo=UTC),
        deployment="dep_1",
        dimensions={"place": "Ulm"},
    )
    async with client:
        told = await client.usage.report(
            [full, UsageEvent(id="e2", meter="rain", quantity=Decimal("0.1")), whole]
        )

    assert (1, "accepted") == (told.accepted, told.items[0].result)
    assert 2 == len(platform.requests)
    request = platform.requests[-1]
    assert "application/cloudevents-batch+json" == request.headers["content-type"]
    assert request.body.endswith(b'{"specversion":"1.0","data":{"quantity":0.10}}]')
    first, second, _ = json.loads(request.body)
    assert {
        "specversion": "1.0", "id": "e1", "source": "/s", "type": "agora.usage.recorded.v1", "time": AT,
        "data": {"meter": "rain", "quantity": "1000", "deployment": "dep_1", "dimensions": {"place": "Ulm"}},
    } == first  # fmt: skip
    assert ("0.1", "time" in second, "deployment" in second["data"]) == (
        second["data"]["quantity"],
        False,
        False,
    )


async def test_many_events_are_sent_in_batches(platform: Platform, client: agora.Client) -> None:
    """
    At most a thousand a request, and two megabytes; their answers come as one report.
    """
    platform.on("POST /usage/events", a_report(ACCEPTED))
    small = (UsageEvent(id=f"e{number}", meter="rain", quantity=Decimal(1)) for number in range(1001))
    large = (
        UsageEvent(id=f"l{number}", meter="rain", quantity=Decimal(1), dimensions={"x": "y" * 60_000})
        for number in range(40)
    )
    async with client:
        first = await client.usage.report(small)
        second = await client.usage.report(large)
        nothing = await client.usage.report([])

    sizes = [len(json.loads(request.body)) for request in platform.requests]
    assert [1000, 1, 31, 9] == sizes
    assert (2, 2, 0) == (first.accepted, second.accepted, nothing.accepted)
    assert all(len(request.body) <= 2 * 1024 * 1024 for request in platform.requests)


def test_a_float_is_no_quantity() -> None:
    """
    It would be counted as something near what was measured.
    """
    with pytest.raises(TypeError, match="Decimal"):
        UsageEvent(id="e1", meter="rain", quantity=0.1)  # type: ignore[arg-type]


async def test_refused_events_are_replayed(platform: Platform, client: agora.Client) -> None:
    """
    One, as it came or corrected; all of a reason, however many calls that takes.
    """
    platform.on("POST /usage/refused/ref_1/replay", Answer(200, ACCEPTED))
    platform.on(
        "POST /usage/refused/replay",
        Answer(200, {"accepted": 2, "duplicates": 1, "refused": ["ref_2"], "next_after": "there"}),
        Answer(200, {"accepted": 3, "duplicates": 0, "refused": []}),
    )
    async with client:
        await client.usage.replay("ref_1")
        await client.usage.replay("ref_1", UsageEvent(id="e1", meter="rain", quantity=Decimal(1)))
        done = await client.usage.replay_all(reason="unknown_meter")

    assert (5, 1, ["ref_2"]) == (done.accepted, done.duplicates, done.refused)
    assert b"" == platform.requests[0].body
    assert "e1" == json.loads(platform.requests[1].body)["event"]["id"]
    assert [None, "there"] == [json.loads(one.body)["after"] for one in platform.requests[2:]]


async def test_exports_are_listed_and_cancelled(platform: Platform, client: agora.Client) -> None:
    """
    An export without a file cannot be downloaded.
    """
    platform.on("GET /usage/exports", Answer(200, {"items": [an_export("queued").body]}))
    platform.on("DELETE /usage/exports/exp_1", an_export("cancelled"))
    async with client:
        page = await client.usage.list_exports()
        cancelled = await client.usage.cancel_export("exp_1")
        with pytest.raises(ValueError, match="cancelled"):
            await client.usage.download_export(cancelled, Path("nowhere"))

    assert ("exp_1", "cancelled") == (page.items[0].id, cancelled.state)


# --- the command ---------------------------------------------------------------------------------


def test_usage_is_shown(platform: Platform, command: Callable[..., Any]) -> None:
    """
    `agora usage` is a table of what was grouped by, and one JSON value with --json.
    """
    rows = [{"quantity": "1E+1", "events": 3, "meter": "rain", "time": AT, "dimensions": {"place": "Ulm"}}]
    platform.on("GET /usage", Answer(200, {"items": rows, "truncated": True, "incomplete": ["sun"]}))
    shown = command(
        "--by", "meter,day", "--from", "2026-01-01T00:00:00+01:00", "--dimension", "place", "--zone", "Asia/Kolkata"
    )  # fmt: skip
    plain = command("--json", "--meter", "rain")

    assert (0, 0) == (shown.exit_code, plain.exit_code)
    assert ["rain", "2026-01-05", "09:00", "Ulm", "10", "3"] == shown.stdout.splitlines()[1].split()
    assert "more" in shown.stderr and "sun" in shown.stderr
    assert "dimensions=place&time_zone=Asia%2FKolkata" in platform.requests[0].path
    assert "rain" == json.loads(plain.stdout)["items"][0]["meter"]
    assert "from=2026-01-01T00%3A00%3A00%2B01%3A00" in platform.requests[0].path


METER = {
    "tenant": "ten_1", "key": "rain", "unit": "mm", "aggregation": "max", "event": "rain", "state": "backfilling",
    "created_at": AT, "progress_percent": 40, "dimensions": ["place"],
}  # fmt: skip


def test_meters_are_defined_and_listed(platform: Platform, command: Callable[..., Any]) -> None:
    """
    `agora usage define` sends the definition, `agora usage meters` shows how far each is.
    """
    platform.on("POST /usage/meters", Answer(201, METER))
    platform.on("GET /usage/meters", Answer(200, {"items": [METER]}))
    defined = command("define", "rain", "--unit", "mm", "--how", "max", "--dimension", "place")
    listed = command("meters")
    wrong = command("define", "rain", "--unit", "mm", "--how", "mean")

    assert [0, 0, 2] == [one.exit_code for one in (defined, listed, wrong)]
    assert "rain backfilling" in defined.stdout and "backfilling 40 %" in listed.stdout
    sent = json.loads(platform.requests[0].body)
    assert ("rain", "mm", "max", None, ["place"]) == (
        sent["key"], sent["unit"], sent["aggregation"], sent["event"], sent["dimensions"]
    )  # fmt: skip


async def test_meters_and_queries_of_the_client(platform: Platform, client: agora.Client) -> None:
    """
    A meter is read and taken away by its key; a query names each value that it filters by.
    """
    platform.on("GET /usage/meters/rain", Answer(200, METER))
    platform.on("DELETE /usage/meters/rain", Answer(200, METER | {"state": "deleting"}))
    platform.on("GET /usage", Answer(200, {"items": [], "next_cursor": "there"}))
    async with client:
        found = await client.usage.get_meter("rain")
        gone = await client.usage.delete_meter("rain")
        page = await client.usage.query(where={"place": "Ulm", "who": "a:b"}, cursor="here", limit=7)

    assert (40, "deleting", "there") == (found.progress_percent, gone.state, page.next_cursor)
    asked = platform.requests[-1].path
    assert "where=place%3AUlm&where=who%3Aa%3Ab" in asked and "cursor=here&limit=7" in asked


def test_a_file_of_events_is_reported(
    platform: Platform, command: Callable[..., Any], tmp_path: Path
) -> None:
    """
    Short events and CloudEvents, one on each line; what is refused is shown and ends the command with 1.
    """
    platform.on("POST /usage/events", a_report(ACCEPTED, REFUSED), a_report(ACCEPTED))
    lines = b'{"id":"e1","meter":"rain","quantity":0.10}\n\n{"specversion":"1.0","id":"e2","extra":1}\n'
    (tmp_path / "events.jsonl").write_bytes(lines)
    told = command("report", tmp_path / "events.jsonl")
    piped = command("report", "-", "--json", stdin=lines)

    assert (1, 0) == (told.exit_code, piped.exit_code)
    assert "1 counted, 0 known already, 1 refused" in told.stdout
    assert "ref_1" in told.stdout and "no meter reads it" in told.stdout
    assert 1 == json.loads(piped.stdout)["accepted"]
    sent = json.loads(platform.requests[0].body)
    assert ("0.10", {"specversion": "1.0", "id": "e2", "extra": 1}) == (sent[0]["data"]["quantity"], sent[1])


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id":"e1"}', '{"id":"e1","meter":"m","quantity":"x"}', '{"idd":1}']
)
def test_a_line_that_is_no_event_is_a_misuse(
    platform: Platform, command: Callable[..., Any], tmp_path: Path, line: str
) -> None:
    """
    It is named, and nothing is sent.
    """
    (tmp_path / "events.jsonl").write_text(f"\n{line}\n")
    told = command("report", tmp_path / "events.jsonl")

    assert 2 == told.exit_code
    assert "line 2" in told.stderr
    assert [] == platform.requests


def test_refused_events_are_listed_and_replayed(
    platform: Platform, command: Callable[..., Any], tmp_path: Path
) -> None:
    """
    What to change stands beside each; a replay that is refused again ends with 1.
    """
    item = {
        "id": "ref_1", "source": "s", "event_id": "e2", "reason": "unknown_meter", "detail": "no meter reads it",
        "payload": "{}", "received_at": AT, "times": 1,
    }  # fmt: skip
    platform.on("GET /usage/refused", Answer(200, {"items": [item]}))
    platform.on("POST /usage/refused/ref_1/replay", Answer(200, REFUSED), Answer(200, ACCEPTED))
    platform.on(
        "POST /usage/refused/replay", Answer(200, {"accepted": 1, "duplicates": 0, "refused": ["ref_2"]})
    )
    (tmp_path / "fixed.json").write_text('{"id":"e2","meter":"rain","quantity":"1"}')
    listed = command("refused", "--reason", "unknown_meter")
    again = command("replay", "ref_1")
    fixed = command("replay", "ref_1", "--corrected", tmp_path / "fixed.json")
    every = command("replay", "--reason", "unknown_meter")
    wrong = command("replay", "--reason", "bad luck")
    unnamed = command("replay", "--corrected", tmp_path / "fixed.json")

    assert [0, 1, 0, 1, 2, 2] == [one.exit_code for one in (listed, again, fixed, every, wrong, unnamed)]
    assert "no meter reads it" in listed.stdout
    assert "refused" in again.stdout and "accepted" in fixed.stdout
    assert "1 counted, 0 known already, 1 refused" in every.stdout


def test_an_event_is_corrected(platform: Platform, command: Callable[..., Any]) -> None:
    """
    With a quantity it is amended, without one voided; the id is made anew unless one is given.
    """
    platform.on("POST /usage/corrections", Answer(200, CORRECTION))
    amended = command(
        "correct", "key:key_1#/", "e1", "--quantity", "2.50", "--reason", "wrong unit", "--id", "c1"
    )
    voided = command("correct", "key:key_1#/", "e1", "--reason", "twice")
    wrong = command("correct", "key:key_1#/", "e1", "--reason", "x", "--quantity", "many")

    assert [0, 0, 2] == [one.exit_code for one in (amended, voided, wrong)]
    assert "rain -0.5; it counts for 2.5 now" in amended.stdout
    first, second = (json.loads(one.body) for one in platform.requests)
    assert ("c1", "amend", "2.50") == (first["id"], first["kind"], first["quantity"])
    assert ("void", None, 32) == (second["kind"], second["quantity"], len(second["id"]))


def test_an_export_is_waited_for_and_written(
    platform: Platform, command: Callable[..., Any], tmp_path: Path
) -> None:
    """
    The file's name says the format; a failed export ends the command with its reason.
    """
    platform.on("POST /usage/exports", an_export("queued"))
    platform.on(
        "GET /usage/exports/exp_1",
        an_export("running"),
        an_export("succeeded", file="file_1", rows_done=7),
        an_export("failed", error="no room left"),
    )
    platform.on("GET /files/file_1/content", Answer(raw=b"at,id\n"))
    span = ("--from", AT, "--to", "2026-02-01T00:00:00Z")
    written = command("export", *span, "--out", tmp_path / "usage.csv", "--what", "daily")
    failed = command("export", *span, "--out", tmp_path / "more.parquet")
    wrong = [
        command("export", *span, "--out", tmp_path / "usage.xls"),
        command("export", "--from", "2026-01-01", "--to", AT, "--out", tmp_path / "usage.csv"),
    ]

    assert (0, "7 rows in") == (written.exit_code, written.stdout[:9])
    assert b"at,id\n" == (tmp_path / "usage.csv").read_bytes()
    sent = json.loads(platform.requests[0].body)
    assert ("daily", "csv", AT) == (sent["what"], sent["format"], sent["start"])
    assert 1 == failed.exit_code and "no room left" in failed.stderr
    assert [2, 2] == [one.exit_code for one in wrong]
