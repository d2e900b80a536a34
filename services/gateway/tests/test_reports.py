"""Usage reported over HTTP: every form that CloudEvents come in, and what a request is refused as a whole for."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from agora_contracts.exports import (
    CancelUsageExport,
    GetUsageExport,
    ListUsageExports,
    RequestUsageExport,
    UsageExport,
    UsageExportPage,
)
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import (
    CorrectUsage,
    IngestedEvent,
    IngestReport,
    IngestUsage,
    ListRefusedUsage,
    RefusedUsage,
    RefusedUsagePage,
    ReplayAllRefusedUsage,
    ReplayedUsage,
    ReplayRefusedUsage,
    UsageCorrection,
)
from agora_gateway.usage.report_shapes import A_CORRECTION, A_REFUSED, AN_EVENT

from .conftest import Customer, Others

ONE = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
REFUSED = f"ref_{'a' * 32}"
EXPORT = f"exp_{'a' * 32}"


async def accept(command: IngestUsage) -> IngestReport:
    """Count everything whose id is not `bad`."""
    items = []
    for raw in command.events:
        event = msgspec.json.decode(raw)
        id = event.get("id", "") if isinstance(event, dict) else ""
        result = "refused" if id == "bad" else "accepted"
        items.append(IngestedEvent(id=id, source=f"{command.sender}#x", result=result))  # type: ignore[arg-type]
    return IngestReport(items=items)


@pytest.fixture
async def metering(others: Others) -> Others:
    """A metering that counts."""
    await others.answer((IngestUsage, accept))
    return others


def sent(others: Others) -> list[IngestUsage]:
    """What metering was asked to count."""
    return [one for one in others.asked if isinstance(one, IngestUsage)]


def a_problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and slug of a refusal."""
    return answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]


async def test_a_batch_is_answered_event_by_event(customer: Customer, metering: Others):
    """
    Events go on byte by byte, with the key that they came with as their sender.
    """
    raw = b'[ {"id":"a","data":{"quantity": 0.1000000000000000055}} , {"id":"bad"}, 7 ]'
    answer = await customer.http.post("/usage/events", content=raw, headers=BATCH)

    told = answer.json()
    assert (200, 2, 0, 1) == (answer.status_code, told["accepted"], told["duplicates"], told["refused"])
    assert ["a", "bad", ""] == [item["id"] for item in told["items"]]
    (command,) = sent(metering)
    assert (customer.id, f"key:{customer.key_id}") == (command.tenant, command.sender)
    assert [b'{"id":"a","data":{"quantity": 0.1000000000000000055}}', b'{"id":"bad"}', b"7"] == [
        bytes(one) for one in command.events
    ]


async def test_one_event_is_a_batch_of_one(customer: Customer, metering: Others):
    """
    Structured mode takes one event as it stands.
    """
    answer = await customer.http.post("/usage/events", content=json.dumps(AN_EVENT), headers=ONE)

    assert (200, 1) == (answer.status_code, answer.json()["accepted"])
    assert AN_EVENT == msgspec.json.decode(sent(metering)[0].events[0])


async def test_binary_mode_takes_attributes_from_headers(customer: Customer, metering: Others):
    """
    The data is the body, byte by byte; attributes are decoded as the HTTP binding says, and none can be `data`.
    """
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "euro%20%E2%82%AC",
        "ce-source": "/s",
        "ce-type": "agora.usage.recorded.v1",
        "ce-data": "no",
    }
    answer = await customer.http.post("/usage/events", content=b'{"quantity": 1.10}', headers=headers)

    assert 200 == answer.status_code
    (raw,) = sent(metering)[0].events
    assert b'"data":{"quantity": 1.10}' in bytes(raw)
    event = msgspec.json.decode(raw)
    assert ("1.0", "euro €", "/s", {"quantity": 1.1}) == (
        event["specversion"],
        event["id"],
        event["source"],
        event["data"],
    )


async def test_a_large_batch_goes_in_pieces(customer: Customer, metering: Others):
    """
    A thousand events are answered in their order, however many messages they took; a body of two megabytes fits.
    """
    events = [{"id": f"e{number}", "text": "x" * (1500 if number % 2 else 10)} for number in range(1000)]
    answer = await customer.http.post("/usage/events", content=json.dumps(events), headers=BATCH)
    large = [{"id": f"e{number}", "text": "x" * 60_000} for number in range(34)]
    second = await customer.http.post("/usage/events", content=json.dumps(large), headers=BATCH)

    assert [f"e{number}" for number in range(1000)] == [item["id"] for item in answer.json()["items"]]
    assert (200, 34) == (second.status_code, second.json()["accepted"])
    assert 5 <= len(sent(metering)) <= 12
    assert 1 == len({command.received_at for command in sent(metering)[:5]})


@pytest.mark.parametrize(
    ("content", "headers", "problem"),
    [
        (b"[", BATCH, (400, "malformed_request")),
        (b"{}", BATCH, (422, "invalid_input")),
        (b"", ONE, (400, "malformed_request")),
        (b"[" * 200 + b"]" * 200, BATCH, (400, "malformed_request")),
        (json.dumps([{}] * 1001).encode(), BATCH, (413, "payload_too_large")),
        (json.dumps([{"x": "y" * 70_000}]).encode(), BATCH, (413, "payload_too_large")),
        (json.dumps([{"x": "y" * 60_000}] * 36).encode(), BATCH, (413, "payload_too_large")),
        (b"{}", {"Content-Type": "application/json"}, (415, "unsupported_media_type")),
        (b"a,b", {"Content-Type": "text/csv"}, (415, "unsupported_media_type")),
        (b"{}", {}, (415, "unsupported_media_type")),
    ],
)
async def test_a_request_that_cannot_be_read_counts_nothing(
    customer: Customer, metering: Others, content: bytes, headers: dict[str, str], problem: tuple[int, str]
):
    """
    What is wrong with the request as a whole is one refusal, and nothing goes on.
    """
    answer = await customer.http.post("/usage/events", content=content, headers=headers)

    assert problem == a_problem(answer)
    assert [] == sent(metering)


async def test_an_empty_batch_is_answered_with_nothing(customer: Customer, metering: Others):
    """
    Nothing to count is no fault.
    """
    answer = await customer.http.post("/usage/events", content=b"[]", headers=BATCH)

    assert (200, []) == (answer.status_code, answer.json()["items"])


async def test_what_cannot_be_counted_now_may_be_sent_again(customer: Customer, others: Others):
    """
    A metering that is away is 503; the client repeats the request, and deduplication does the rest.
    """

    async def away(_: Any) -> Any:
        raise AgoraError("unavailable", "metering does not answer", retry_after_seconds=1)

    await others.answer((IngestUsage, away))
    answer = await customer.http.post("/usage/events", content=json.dumps([AN_EVENT]), headers=BATCH)

    assert ((503, "unavailable"), "1") == (a_problem(answer), answer.headers["retry-after"])


async def test_reporting_needs_its_scope(new_customer: Callable[..., Awaitable[Customer]], metering: Others):
    """
    A key that is given away for reporting can do nothing else, and others cannot report.
    """
    reporter = await new_customer(scopes=["usage"])
    reader = await new_customer(scopes=["read", "execute", "files", "account", "keys"])

    assert 200 == (await reporter.http.post("/usage/events", content=b"[]", headers=BATCH)).status_code
    for path in ("/usage", "/account", "/usage/exports"):
        assert (403, "forbidden") == a_problem(await reporter.http.get(path))
    for method, path in (
        ("POST", "/usage/events"),
        ("GET", "/usage/refused"),
        ("POST", f"/usage/refused/{REFUSED}/replay"),
        ("POST", "/usage/corrections"),
    ):
        assert (403, "forbidden") == a_problem(await reader.http.request(method, path, json={}))


# --- what was refused ----------------------------------------------------------------------------


async def one_refused(query: ListRefusedUsage) -> RefusedUsagePage:
    """A page with one event."""
    return RefusedUsagePage(items=[A_REFUSED], next_cursor="more")


async def test_refused_events_are_listed(customer: Customer, operator: httpx.AsyncClient, others: Others):
    """
    A tenant sees its own, without a word about tenants; the operator all of them, or one tenant's.
    """
    await others.answer((ListRefusedUsage, one_refused))
    own = await customer.http.get("/usage/refused", params={"reason": "unknown_meter", "limit": 7})
    every = await operator.get("/operator/usage/refused", params={"replayed": True})
    odd = await customer.http.get("/usage/refused", params={"reason": "bad luck"})

    assert (200, "more") == (own.status_code, own.json()["next_cursor"])
    assert "tenant" not in own.json()["items"][0]
    assert A_REFUSED.tenant == every.json()["items"][0]["tenant"]
    assert (422, "invalid_input") == a_problem(odd)
    asked = [one for one in others.asked if isinstance(one, ListRefusedUsage)]
    assert [(customer.id, "unknown_meter", False, 7), (None, None, True, 50)] == [
        (one.tenant, one.reason, one.replayed, one.limit) for one in asked
    ]


async def test_a_corrected_event_goes_on_as_it_was_written(
    customer: Customer, operator: httpx.AsyncClient, others: Others
):
    """
    Without a body the event is tried as it came; with one, its numbers keep every digit on their way.
    """
    replayed = IngestedEvent(id="e1", source="key:x#y", result="accepted")
    await others.answer((ReplayRefusedUsage, replayed))
    path = f"/usage/refused/{REFUSED}/replay"
    plain = await customer.http.post(path)
    corrected = await customer.http.post(
        path, content=b'{"event": {"data": {"quantity": 0.1000000000000000055}}}'
    )
    by_operator = await operator.post(f"/operator{path}", json={"event": AN_EVENT})

    assert [200] * 3 == [answer.status_code for answer in (plain, corrected, by_operator)]
    assert "accepted" == plain.json()["result"]
    asked = [one for one in others.asked if isinstance(one, ReplayRefusedUsage)]
    assert [customer.id, customer.id, None] == [one.tenant for one in asked]
    assert [None, '{"data": {"quantity": 0.1000000000000000055}}'] == [one.corrected for one in asked[:2]]
    assert AN_EVENT == msgspec.json.decode(asked[2].corrected or "")


@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        ("/usage/refused/nothing/replay", b"", (404, "not_found")),
        (f"/usage/refused/{REFUSED}/replay", b"{", (400, "malformed_request")),
        (f"/usage/refused/{REFUSED}/replay", b"{}", (422, "invalid_input")),
        (f"/usage/refused/{REFUSED}/replay", b'{"event":{},"more":1}', (422, "invalid_input")),
        (
            f"/usage/refused/{REFUSED}/replay",
            b'{"event":"' + b"x" * 70_000 + b'"}',
            (413, "payload_too_large"),
        ),
    ],
)
async def test_a_replay_that_cannot_be_read_is_refused(
    customer: Customer, path: str, content: bytes, problem: tuple[int, str]
):
    """
    Nothing is tried.
    """
    assert problem == a_problem(await customer.http.post(path, content=content))


async def test_all_of_a_reason_are_replayed(customer: Customer, operator: httpx.AsyncClient, others: Others):
    """
    A tenant replays its own, the operator everybody's, going on where the answer says.
    """
    await others.answer((ReplayAllRefusedUsage, ReplayedUsage(accepted=2, duplicates=1, next_after="there")))
    own = await customer.http.post("/usage/refused/replay", json={"reason": "unknown_meter"})
    every = await operator.post("/operator/usage/refused/replay", json={"after": "there"})

    assert ((200, 2), (200, "there")) == (
        (own.status_code, own.json()["accepted"]),
        (every.status_code, every.json()["next_after"]),
    )
    asked = [one for one in others.asked if isinstance(one, ReplayAllRefusedUsage)]
    assert [(customer.id, "unknown_meter", None), (None, None, "there")] == [
        (one.tenant, one.reason, one.after) for one in asked
    ]


# --- corrections ---------------------------------------------------------------------------------


async def test_a_tenant_corrects_its_own_and_the_operator_anything(
    customer: Customer, operator: httpx.AsyncClient, metering: Others
):
    """
    Who corrects comes from the credential; only the operator's corrections reach what runs recorded.
    """
    await metering.answer((CorrectUsage, A_CORRECTION))
    correction = {
        "id": "c1",
        "event": {"source": "key:key_1#/s", "id": "e1"},
        "kind": "amend",
        "quantity": "1.10",
        "reason": "a mistake",
    }
    own = await customer.http.post("/usage/corrections", json=correction)
    by_operator = await operator.post(f"/operator/tenants/{customer.id}/usage/corrections", json=correction)
    nobodys = await operator.post(f"/operator/tenants/ten_{'b' * 32}/usage/corrections", json=correction)

    assert (200, "0.25") == (own.status_code, own.json()["difference"])
    assert (200, (404, "not_found")) == (by_operator.status_code, a_problem(nobodys))
    asked = [one for one in metering.asked if isinstance(one, CorrectUsage)]
    assert [(f"key:{customer.key_id}", True), ("operator", False)] == [
        (one.source, one.own_only) for one in asked
    ]
    assert {customer.id} == {one.tenant for one in asked}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "delete"},
        {"reason": ""},
        {"event": {"id": "e1"}},
        {"id": "x" * 201},
        {"quantity": "many"},
        {"x": 1},
    ],
)
async def test_a_correction_that_does_not_fit_is_refused(customer: Customer, changes: dict[str, Any]):
    """
    The body is read strictly.
    """
    correction = {"id": "c1", "event": {"source": "key:x", "id": "e1"}, "kind": "void", "reason": "a mistake"}
    answer = await customer.http.post("/usage/corrections", json=correction | changes)

    assert (422, "invalid_input") == a_problem(answer)


async def test_the_operator_reports_for_a_tenant(
    customer: Customer, operator: httpx.AsyncClient, metering: Others
):
    """
    Under a sender of its own, for a tenant that is there.
    """
    path = "/operator/tenants/{}/usage/events"
    own = await operator.post(path.format(customer.id), content=b"[{}]", headers=BATCH)
    nobodys = await operator.post(path.format(f"ten_{'b' * 32}"), content=b"[{}]", headers=BATCH)
    by_tenant = await customer.http.post(path.format(customer.id), content=b"[{}]", headers=BATCH)

    assert (200, (404, "not_found"), (403, "forbidden")) == (
        own.status_code,
        a_problem(nobodys),
        a_problem(by_tenant),
    )
    assert [(customer.id, "operator")] == [(one.tenant, one.sender) for one in sent(metering)]


# --- exports -------------------------------------------------------------------------------------


def an_export(command: Any) -> UsageExport:
    """The export that a command is about."""
    return UsageExport(
        id=command.id,
        what="events",
        format="csv",
        start="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
        end="2026-02-01T00:00:00Z",  # type: ignore[arg-type]
        state="queued",
        created_at="2026-02-01T00:00:00Z",  # type: ignore[arg-type]
    )


async def answer_export(command: Any) -> UsageExport:
    """Answer with it."""
    return an_export(command)


async def test_an_export_is_asked_for_followed_and_cancelled(customer: Customer, others: Others):
    """
    Each route sends its one command for the caller's tenant; the Idempotency-Key makes the id.
    """
    await others.answer(
        (RequestUsageExport, answer_export),
        (GetUsageExport, answer_export),
        (CancelUsageExport, answer_export),
        (ListUsageExports, UsageExportPage(items=[])),
    )
    body = {
        "start": "2026-01-01T00:00:00+01:00",
        "end": "2026-02-01T00:00:00Z",
        "what": "daily",
        "format": "csv",
    }
    asked_for = await customer.http.post("/usage/exports", json=body, headers={"Idempotency-Key": "jan"})
    read = await customer.http.get(f"/usage/exports/{EXPORT}")
    cancelled = await customer.http.delete(f"/usage/exports/{EXPORT}")
    listed = await customer.http.get("/usage/exports")
    missing = await customer.http.get("/usage/exports/nothing")

    assert [202, 200, 200, 200] == [one.status_code for one in (asked_for, read, cancelled, listed)]
    assert derived("exp", customer.id, "jan") == asked_for.json()["id"]
    assert (404, "not_found") == a_problem(missing)
    commands = [one for one in others.asked if hasattr(one, "tenant") and "Export" in type(one).__name__]
    assert {customer.id} == {one.tenant for one in commands} and 4 == len(commands)


@pytest.mark.parametrize(
    "changes",
    [
        {"start": "2026-01-01"},
        {"start": "2026-01-01T00:00:00"},
        {"format": "xls"},
        {"what": "all"},
        {"meter": ""},
    ],
)
async def test_an_export_that_does_not_fit_is_refused(customer: Customer, changes: dict[str, Any]):
    """
    The body is read strictly.
    """
    body = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    answer = await customer.http.post("/usage/exports", json=body | changes)

    assert (422, "invalid_input") == a_problem(answer)


def test_what_a_tenant_is_shown_of_a_refusal_is_all_but_its_tenant():
    """
    Whatever is added to refused events is decided about here.
    """
    from agora_gateway.usage.report_shapes import RefusedShape

    assert {"tenant"} == set(RefusedUsage.__struct_fields__) - set(RefusedShape.__struct_fields__)
    assert UsageCorrection is type(A_CORRECTION)
