"""What every route shares: bodies, errors, limits, cached pages."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import msgspec
import pytest
from agora_contracts.catalog import ListPackages, PackagePage
from agora_contracts.models import SecretText
from agora_contracts.problems import AgoraError
from agora_contracts.runs import Run, StartRun
from agora_contracts.subjects import event_subject
from agora_gateway.app import Gateway
from agora_gateway.edge.bodies import decode, depth
from agora_gateway.edge.headers import wait_seconds
from agora_gateway.edge.tracing import traced
from agora_gateway.packages.shapes import A_PAGE, A_SUMMARY
from agora_gateway.playground.model import UserMessage
from agora_gateway.settings import GatewaySettings
from agora_kit.settings import SettingsError, load_settings
from litestar import Litestar, get
from litestar.params import FromPath
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .conftest import OPERATOR_TOKEN, Customer, Others

EXECUTE = "/packages/echo/execute"


class Secret(msgspec.Struct):
    """A body with a vendor's key."""

    secret: SecretText


def slug(response: httpx.Response) -> str:
    """The stable code of a problem."""
    assert "application/problem+json" == response.headers["content-type"]
    problem = response.json()
    assert response.status_code == problem["status"]
    assert problem["detail"]
    return str(problem["type"]).rsplit("/", 1)[1]


async def test_a_bad_body_is_refused_and_sent_nowhere(customer: Customer, others: Others):
    """
    What is no JSON is malformed; what is JSON but does not fit names the field. Nothing is started.
    """
    asked_before = len(others.asked)
    headers = {"Content-Type": "application/json"}
    for content, status, code, fields in (
        (b"", 400, "malformed_request", []),
        (b"{", 400, "malformed_request", []),
        (b'{"input": NaN}', 400, "malformed_request", []),
        (b'{"input": {"a": "\xff"}}', 400, "malformed_request", []),
        (b'{"input": {"a": ' + b"[" * 100_000, 400, "malformed_request", []),
        (b'{"input": {"a": ' + b"[" * 99 + b"]" * 99 + b"}}", 400, "malformed_request", []),
        (b'{"input": ' + b'{"a]": ' * 100 + b"1" + b"}" * 101, 400, "malformed_request", []),
        (b"[]", 422, "invalid_input", [""]),
        (b"{}", 422, "invalid_input", ["/input"]),
        (b'{"input": []}', 422, "invalid_input", ["/input"]),
        (b'{"input": {}, "version": 1}', 422, "invalid_input", ["/version"]),
        (b'{"input": {}, "inputs": {}}', 422, "invalid_input", ["/inputs"]),
    ):
        answer = await customer.http.post(EXECUTE, content=content, headers=headers)
        assert (status, code) == (answer.status_code, slug(answer)), content[:40]
        assert fields == [error["field"] for error in answer.json()["errors"]], content[:40]
    assert asked_before == len(others.asked)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"text": "abc\xff"}', "position 13 is not UTF-8"),
        (b'{"text": "\\ud800"}', "half of a surrogate pair"),
        (b'{"text": "\\udc00 a"}', "half of a surrogate pair"),
        (b'{"text": "\\ud83d\\ude00"', "truncated"),
    ],
)
def test_a_body_that_is_no_text_says_where(raw: bytes, told: str):
    """
    A byte that is not UTF-8 by its place in the body, and half a character as such.
    """
    with pytest.raises(AgoraError, match=told) as refused:
        decode(raw, dict[str, str])
    assert "malformed_request" == refused.value.slug


@pytest.mark.parametrize("key", ["a b", "\u00e4", "", "a" * 201])
def test_a_text_with_blanks_is_told_in_words(key: str):
    """
    A rule for keys and secrets is told as one, and not as a pattern.
    """
    raw = msgspec.json.encode({"type": "user_message", "content": "a", "message_id": key})
    with pytest.raises(AgoraError) as message:
        decode(raw, UserMessage)
    with pytest.raises(AgoraError) as secret:
        decode(b'{"secret": "sk 12345678"}', Secret)

    [of_message], [of_secret] = message.value.problem.errors, secret.value.problem.errors
    assert ("/message_id", "must be printable ASCII without blanks, 1 to 200 characters") == (
        of_message.field, of_message.detail,
    )  # fmt: skip
    assert ("/secret", "must be printable ASCII without blanks") == (of_secret.field, of_secret.detail)


async def test_numbers_in_strings_are_not_coerced():
    """
    A body is taken as it is: a string where a number belongs is an error, with the path to it.
    """

    class Inner(msgspec.Struct):
        counts: list[int]

    class Body(msgspec.Struct):
        inner: Inner

    with pytest.raises(Exception, match="Expected `int`") as refused:
        decode(b'{"inner": {"counts": [1, "2"]}}', Body)

    assert "/inner/counts/1" == refused.value.problem.errors[0].field  # type: ignore[attr-defined]


def test_the_depth_of_a_body_is_that_of_its_brackets_outside_of_strings():
    """
    Many brackets beside each other, or in strings, are not deep.
    """
    assert 2 == depth(b"[" + b"[]," * 500 + b"{}]")
    assert 1 == depth(b'["' + rb"[{\"[" * 500 + b'"]' + b" " * 10)
    assert 300 == depth(b'[{"a":' * 150 + b"1" + b"}]" * 150)


async def test_a_large_body_is_refused(customer: Customer, others: Others):
    """
    10 MB to a JSON route: 413, whether or not the size was announced, and the connection goes on to serve.
    """
    body = b'{"input": {"text": "' + b"x" * 10_000_000 + b'"}}'
    headers = {"Content-Type": "application/json"}

    async def unannounced() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    for content in (body, unannounced()):
        answer = await customer.http.post(EXECUTE, content=content, headers=headers)
        assert (413, "payload_too_large") == (answer.status_code, slug(answer))
    assert 200 == (await customer.http.get("/api-keys")).status_code


async def test_other_content_types_are_refused(customer: Customer):
    """
    A form where JSON belongs is told so.
    """
    answer = await customer.http.post(EXECUTE, data={"input": "x"})

    assert (415, "unsupported_media_type") == (answer.status_code, slug(answer))


async def test_unknown_routes_and_methods_are_problems_too(customer: Customer):
    """
    404 and 405 come as problem documents; 405 names the methods there are.
    """
    nowhere = await customer.http.get("/nowhere")
    wrong = await customer.http.put(EXECUTE, json={})

    assert (404, "not_found") == (nowhere.status_code, slug(nowhere))
    assert (405, "method_not_allowed") == (wrong.status_code, slug(wrong))
    assert "POST" in wrong.headers["allow"]


async def test_bad_parameters_are_named(customer: Customer):
    """
    A parameter out of its range or of the wrong type is named.
    """
    for query, field in (
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=100000", "limit"),
        ("status=gone", "status"),
    ):
        answer = await customer.http.get(f"/runs?{query}")
        assert (422, "invalid_input") == (answer.status_code, slug(answer))
        assert field == answer.json()["errors"][0]["field"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"/runs/run_{'a' * 32}/events?after={2**31}", "after"),
        ("/usage?from=0001-01-01T00:00:00%2B14:00", "from"),
        ("/usage?to=9999-12-31T23:59:59-14:00", "to"),
        ("/usage?to=0001-01-02T00:00:00Z", "to"),
    ],
)
async def test_numbers_and_times_beyond_our_range_are_named(customer: Customer, path: str, field: str):
    """
    What is well-formed and yet more than can be stored or reckoned with is the caller's fault, not ours.
    """
    answer = await customer.http.get(path)

    assert (422, "invalid_input") == (answer.status_code, slug(answer))
    assert field == answer.json()["errors"][0]["field"]


async def test_a_last_event_id_beyond_our_range_is_named(customer: Customer):
    """
    An id that no journal can reach is refused as such.
    """
    headers = {"Last-Event-ID": "9" * 24}
    answer = await customer.http.get(f"/runs/run_{'a' * 32}/events", headers=headers)

    assert (422, "Last-Event-ID") == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_a_text_that_cannot_be_stored_is_refused(customer: Customer, operator: httpx.AsyncClient):
    """
    U+0000, which the database has no place for, in a name: the caller is told, and nothing is made.
    """
    for client, path in ((customer.http, "/api-keys"), (operator, "/operator/tenants")):
        before = (await client.get(path)).json()
        answer = await client.post(path, json={"name": "a\x00b"})

        assert (422, "invalid_input") == (answer.status_code, slug(answer))
        assert "U+0000" in answer.json()["detail"]
        assert before == (await client.get(path)).json()


async def test_a_bad_idempotency_key_is_refused(customer: Customer, others: Others):
    """
    An empty, too long or blank-ridden Idempotency-Key is no key; the answer says what is one.
    """
    for key in ("", "two words", "x" * 201):
        answer = await customer.http.post(EXECUTE, json={"input": {}}, headers={"Idempotency-Key": key})
        assert (422, "Idempotency-Key") == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_what_we_did_not_foresee_tells_nothing(customer: Customer, others: Others):
    """
    A failure inside is a plain 500 without a word about what it was.
    """

    async def break_down(_: StartRun) -> Run:
        raise RuntimeError("secret of the house")

    await others.answer((StartRun, break_down))
    answer = await customer.http.post(EXECUTE, json={"input": {}})

    assert (500, "internal") == (answer.status_code, slug(answer))
    assert "secret" not in answer.text


async def test_lists_of_packages_come_from_memory_until_something_is_published(
    gateway: Gateway, customer: Customer, others: Others
):
    """
    Many readers at once cost one question; an event of the catalogue empties the memory.
    """
    gateway.pages.lifetime_seconds = 600
    page = A_PAGE

    async def packages(_: ListPackages) -> PackagePage:
        return page

    await others.answer((ListPackages, packages))
    answers = await asyncio.gather(*(customer.http.get("/packages?search=echo") for _ in range(10)))
    asked = sum(isinstance(request, ListPackages) for request in others.asked)
    page = PackagePage(items=[])
    await others.publish(event_subject("platform", "catalog.package.published"), A_SUMMARY)

    assert {200} == {answer.status_code for answer in answers}
    assert "0.5" == answers[0].json()["items"][0]["prices"][0]["unit_price"]
    assert 1 == asked
    async with asyncio.timeout(60):
        while (await customer.http.get("/packages?search=echo")).json()["items"]:
            pass


async def test_cached_pages_need_a_key_that_may_read(
    customer: Customer, others: Others, anyone: httpx.AsyncClient
):
    """
    What is in memory for one caller is no way in for another without a key.
    """
    await others.answer((ListPackages, A_PAGE))
    await customer.http.get("/packages")
    keyless = await anyone.get("/api/v1/packages")
    made = (await customer.http.post("/api-keys", json={"name": "files", "scopes": ["files"]})).json()
    narrow = await anyone.get("/api/v1/packages", headers={"X-API-Key": made["key"]})

    assert [401, 403] == [keyless.status_code, narrow.status_code]


async def test_errors_are_not_cached(customer: Customer, others: Others):
    """
    A bad query is answered anew each time, and a good one after it as well.
    """
    await others.answer((ListPackages, A_PAGE))
    answers = [await customer.http.get(f"/packages?limit={limit}") for limit in (0, 0, 5)]

    assert [422, 422, 200] == [answer.status_code for answer in answers]


async def test_a_request_is_a_span_named_after_its_route():
    """
    With tracing on, what a request does is inside one span, whose name has no ids in it.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def inside(run: FromPath[str]) -> str:
        return f"{run} {trace.get_current_span().get_span_context().trace_id:032x}"

    app = Litestar([get("/runs/{run:str}")(inside)], openapi_config=None)
    transport = httpx.ASGITransport(traced(app, provider))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/runs/run_1")

    (span,) = exporter.get_finished_spans()
    assert "GET /runs/{run}" == span.name
    assert span.context is not None
    assert f"run_1 {span.context.trace_id:032x}" == answer.text


def test_a_gateway_without_a_good_operator_token_does_not_start():
    """
    No token, a short one, one that looks like an API key: the message names the variable.
    """
    environment = {
        "AGORA_DATABASE_URL": "postgresql+asyncpg://x",
        "AGORA_DATABASE_SYSTEM_URL": "postgresql+asyncpg://x",
        "AGORA_NATS_URL": "nats://x",
        "AGORA_OBJECTS_FOLDER": "/nowhere",
    }
    for token in ({}, {"AGORA_OPERATOR_TOKEN": "short"}, {"AGORA_OPERATOR_TOKEN": "ak_" + "x" * 30}):
        with pytest.raises(SettingsError, match="operator_token"):
            load_settings(GatewaySettings, environment | token)
    assert load_settings(GatewaySettings, environment | {"AGORA_OPERATOR_TOKEN": OPERATOR_TOKEN})


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("wait=5", 5),
        ("respond-async, wait=100000", 60),
        ("Wait = 7", 7),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("await=5", 0),
    ],
)
def test_prefer_is_read_leniently(prefer: str | None, seconds: int):
    """
    `wait` is found among other preferences, is at most 60, and the unreadable means no wait.
    """
    assert seconds == wait_seconds(prefer)


def test_decimals_are_strings_in_public():
    """
    A decimal never passes through a binary float on its way out.
    """
    assert b'"0.1"' == msgspec.json.encode(Decimal("0.1"))
    assert b'"2026-01-05T09:00:00Z"' == msgspec.json.encode(datetime(2026, 1, 5, 9, tzinfo=UTC))
