"""Requests that cannot be served: a problem that says what to change, nothing stored, nothing charged."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.answers import refused
from tests.support.bookkeeping import nothing_changes
from tests.support.tenancy import Customer

JSON = {"Content-Type": "application/json"}
HELLO = {"input": {"text": "hi"}}
UNKNOWN = "a" * 32


class Bad(msgspec.Struct, frozen=True):
    """A request, the problem it must get, and what the problem must name."""

    name: str
    method: str
    path: str
    slug: str
    says: tuple[str, ...] = ()
    send: dict[str, Any] = {}


def executes(name: str, slug: str, *says: str, package: str = "echo", **send: Any) -> Bad:
    """A bad request to start a run."""
    return Bad(name, "POST", f"/packages/{package}/execute", slug, says, send)


def hires(name: str, slug: str, *says: str, **body: Any) -> Bad:
    """A bad request to hire."""
    return Bad(name, "POST", "/deployments", slug, says, {"json": body})


def gets(name: str, path: str, slug: str, *says: str, **send: Any) -> Bad:
    """A bad query."""
    return Bad(name, "GET", path, slug, says, send)


def raw(content: bytes) -> dict[str, Any]:
    """A body of these bytes, called JSON."""
    return {"content": content, "headers": JSON}


async def _in_chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield b" " * 65536


BODIES = [
    executes("cut off", "malformed_request", "JSON", **raw(b'{"input": {"text": "hi"')),
    executes("no JSON", "malformed_request", "JSON", **raw(b"text=hi")),
    executes("not UTF-8", "malformed_request", **raw(b'{"input": {"text": "\xff\xfe"}}')),
    executes("half a character", "malformed_request", **raw(b'{"input": {"text": "\\ud800"}}')),
    executes("nested deeply", "malformed_request", **raw(b'{"input":' * 20_000)),
    executes(
        "nested by 300",
        "malformed_request",
        "levels",
        **raw(b'{"input": {"text":' + b"[" * 300 + b"]" * 300 + b"}}"),
    ),
    executes("empty", "malformed_request", "JSON", **raw(b"")),
    executes("a list", "invalid_input", "object", **raw(b"[1, 2]")),
    executes("null", "invalid_input", "object", **raw(b"null")),
    executes("no input", "invalid_input", "/input", json={}),
    executes("unknown field", "invalid_input", "/prio", json=HELLO | {"prio": 1}),
    executes("wrong type", "invalid_input", "/input", json={"input": "hi"}),
    executes("version as number", "invalid_input", "/version", json=HELLO | {"version": 1}),
    executes("number out of range", "invalid_input", **raw(b'{"input": {"text": "a", "steps": 1e999}}')),
    executes(
        "10 MB", "payload_too_large", "file", **raw(b'{"input": {"text": "' + b"x" * 10_000_000 + b'"}}')
    ),
    executes("form", "unsupported_media_type", "application/json", data={"input": "hi"}),
    executes("plain text", "unsupported_media_type", content=b"{}", headers={"Content-Type": "text/plain"}),
    executes("blank key", "invalid_input", "Idempotency-Key", json=HELLO, headers={"Idempotency-Key": "a b"}),
    executes(
        "long key", "invalid_input", "Idempotency-Key", json=HELLO, headers={"Idempotency-Key": "k" * 201}
    ),
]

AGENT_INPUTS = [
    executes("missing field", "invalid_input", "text", json={"input": {}}),
    executes("empty text", "invalid_input", "/text", json={"input": {"text": ""}}),
    executes("too long", "invalid_input", "/text", json={"input": {"text": "x" * 10_001}}),
    executes("wrong kind", "invalid_input", "/steps", json={"input": {"text": "a", "steps": "two"}}),
    executes("out of range", "invalid_input", "/steps", "100", json={"input": {"text": "a", "steps": 101}}),
    executes("no choice", "invalid_input", "/fail", json={"input": {"text": "a", "fail": "never"}}),
    executes("unknown name", "invalid_input", "colour", json={"input": {"text": "a", "colour": 1}}),
    executes("null character", "invalid_input", "/text", json={"input": {"text": "a\x00b"}}),
    executes(
        "unknown file",
        "invalid_input",
        f"file_{UNKNOWN}",
        "upload",
        package="data-processor",
        json={"input": {"file": f"file_{UNKNOWN}"}},
    ),
    executes(
        "path for a file",
        "invalid_input",
        "../../etc/passwd",
        package="data-processor",
        json={"input": {"file": "../../etc/passwd"}},
    ),
]

HIRES = [
    hires("not offered", "invalid_price", "task", package="echo", basis="hour"),
    hires("announced", "not_executable", "announced", package="audit-agent", basis="audit"),
    hires("unknown package", "not_found", "nothing-here", package="nothing-here", basis="task"),
    hires("unknown version", "not_found", "9.9.9", package="echo", basis="task", version="9.9.9"),
    hires("unknown field", "invalid_input", "/seats", package="echo", basis="task", seats=3),
    Bad(
        "null character in a name",
        "POST",
        "/deployments",
        "invalid_input",
        ("U+0000",),
        {"json": {"package": "echo", "basis": "task", "name": "a\x00b"}},
    ),
    hires("null character in a package", "invalid_input", "U+0000", package="ec\x00ho", basis="task"),
    hires("no basis", "invalid_input", "/basis", package="echo"),
    hires("config", "invalid_config", "colour", package="echo", basis="task", config={"colour": 1}),
    hires(
        "config's file",
        "invalid_config",
        f"file_{UNKNOWN}",
        package="knowledge-base",
        basis="query",
        config={"sources": [f"file_{UNKNOWN}"]},
    ),
    executes("announced run", "not_executable", "announced", package="audit-agent", json={"input": {}}),
    Bad(
        "announced estimate",
        "POST",
        "/packages/audit-agent/estimate",
        "not_executable",
        ("announced",),
        {"json": {"input": {}}},
    ),
]

QUERIES = [
    *(
        gets(f"cursor of {path}", f"/{path}", "invalid_cursor", "next_cursor", params={"cursor": cursor})
        for path in ("runs", "deployments", "files", "packages", "account/statement", "api-keys")
        for cursor in ("zzz", "a" * 3000, "bm9uc2Vuc2U", "\x00")
    ),
    gets("limit 0", "/runs", "invalid_input", "limit", params={"limit": 0}),
    gets("limit too high", "/files", "invalid_input", "limit", "200", params={"limit": 201}),
    gets("limit no number", "/deployments", "invalid_input", "limit", params={"limit": "many"}),
    gets("status", "/runs", "invalid_input", "status", params={"status": "asleep"}),
    *(
        gets(f"null character in {name}", path, "invalid_input", "U+0000", params={name: "a\x00b"})
        for path, name in (("/runs", "package"), ("/runs", "deployment"), ("/usage", "meter"))
    ),
    gets("category", "/packages", "invalid_input", "category", params={"category": "gardening"}),
    gets("search", "/packages", "invalid_input", "search", params={"search": "x" * 201}),
    gets("group", "/usage", "invalid_input", "group_by", "meter", params={"group_by": "colour"}),
    gets("no zone", "/usage", "invalid_input", "from", params={"from": "2026-01-01T00:00:00"}),
    gets("no time", "/usage", "invalid_input", "from", params={"from": "yesterday"}),
    gets(
        "ends before it begins",
        "/usage",
        "invalid_input",
        "to",
        params={"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
    ),
    gets("last event", f"/runs/run_{UNKNOWN}/events", "invalid_input", "after", params={"after": "x"}),
]

ROUTES = [
    Bad("method", "PUT", "/runs", "method_not_allowed", ("Allow",)),
    Bad("another method", "DELETE", "/packages/echo", "method_not_allowed"),
    gets("no route", "/nothing/here", "not_found", "openapi.json"),
    gets("climbing", "/runs/..%2f..%2fetc%2fpasswd", "not_found"),
]

FILES = [
    *(
        Bad(f"name {name[:20]!r}", "POST", "/files", "invalid_input", ("name",), {"params": {"name": name}})
        for name in ("../../etc/passwd", "..", "a/b.txt", "a\\b.txt", "a\x00b", "", "x" * 256, "a\u202eb")
    ),
    Bad(
        "form's name",
        "POST",
        "/files",
        "invalid_input",
        ("name",),
        {"files": {"file": ("../../etc/passwd", b"x")}},
    ),
    Bad("no name", "POST", "/files", "malformed_request", ("name",), {"content": b"x"}),
    Bad("no file", "POST", "/files", "malformed_request", ("'file'",), {"files": {"other": ("a", b"x")}}),
    Bad(
        "broken form",
        "POST",
        "/files",
        "malformed_request",
        (),
        {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=y"}},
    ),
]

KEYS = [
    Bad(
        "no scope",
        "POST",
        "/api-keys",
        "invalid_input",
        ("/scopes",),
        {"json": {"name": "a", "scopes": ["all"]}},
    ),
    Bad("no name", "POST", "/api-keys", "invalid_input", ("/name",), {"json": {"name": ""}}),
    Bad(
        "past",
        "POST",
        "/api-keys",
        "invalid_input",
        ("/expires_at", "future"),
        {"json": {"name": "a", "expires_at": "2020-01-01T00:00:00Z"}},
    ),
]

_ROUTES_WITH_IDS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "run": (
        ("GET", "/runs/{id}", {}),
        ("GET", "/runs/{id}/steps", {}),
        ("GET", "/runs/{id}/events", {}),
        ("GET", "/runs/{id}/receipt", {}),
        ("POST", "/runs/{id}/cancel", {}),
    ),
    "dep": (
        ("GET", "/deployments/{id}", {}),
        ("PATCH", "/deployments/{id}", {"json": {"config": {}}}),
        ("DELETE", "/deployments/{id}", {}),
        ("POST", "/deployments/{id}/execute", {"json": HELLO}),
        ("POST", "/deployments/{id}/estimate", {"json": HELLO}),
    ),
    "file": (
        ("GET", "/files/{id}", {}),
        ("GET", "/files/{id}/content", {}),
        ("DELETE", "/files/{id}", {}),
    ),
    "key": (("DELETE", "/api-keys/{id}", {}),),
    "package": (
        ("GET", "/packages/{id}", {}),
        ("GET", "/packages/{id}/health", {}),
        ("POST", "/packages/{id}/execute", {"json": HELLO}),
        ("POST", "/packages/{id}/estimate", {"json": HELLO}),
    ),
}
UNKNOWN_IDS = [
    Bad(f"{method} {path} {given}", method, path.format(id=given), "not_found", (), send)
    for prefix, routes in _ROUTES_WITH_IDS.items()
    for method, path, send in routes
    for given in (f"{prefix}_{UNKNOWN}", f"no-{prefix}", "%2e%2e%2fx", "a" * 3000, "%00")
]

CASES = [*BODIES, *AGENT_INPUTS, *HIRES, *QUERIES, *ROUTES, *FILES, *KEYS]


@pytest.fixture
async def watching(watched: Customer) -> AsyncIterator[httpx.AsyncClient]:
    """Its client; whatever a test sends with it, nothing is stored and nothing charged."""
    async with watched.client() as client, nothing_changes(client):
        yield client


async def check(client: httpx.AsyncClient, case: Bad) -> None:
    """Send a request and look at the refusal."""
    send = dict(case.send)
    if case.path == "/files" and case.method == "POST":
        send.setdefault("content", None if "files" in send else b"some bytes")
    answer = await client.request(case.method, case.path, **send)
    refused(answer, case.slug, *case.says)
    for inside in ("Traceback", "asyncpg", "agora_", "SELECT "):
        assert inside not in answer.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_bad_request_is_refused_and_leaves_nothing(watching: httpx.AsyncClient, case: Bad):
    """
    The problem has the right type and status, names the field or the fault, and nothing was stored or charged.
    """
    await check(watching, case)


async def test_what_does_not_exist_is_not_found(watching: httpx.AsyncClient):
    """
    Unknown, malformed and climbing ids of every kind, on every route that takes one, are not found.
    """
    for case in UNKNOWN_IDS:
        await check(watching, case)


async def test_a_large_body_of_unknown_length_is_refused(watching: httpx.AsyncClient):
    """
    Without a Content-Length a body is read only up to the limit.
    """
    answer = await watching.post("/packages/echo/execute", content=_in_chunks(1_000_000), headers=JSON)

    refused(answer, "payload_too_large")


async def test_every_fault_of_an_input_is_named_at_once(watching: httpx.AsyncClient):
    """
    Several faults of one input come in one answer, each with its place.
    """
    body = {"input": {"text": "", "steps": 0, "fail": "never"}}
    problem = refused(await watching.post("/packages/echo/execute", json=body), "invalid_input")

    assert {"/text", "/steps", "/fail"} == {error["field"] for error in problem["errors"]}


async def test_the_methods_a_route_takes_are_listed(watching: httpx.AsyncClient):
    """
    A wrong method is answered with those that the route takes.
    """
    answer = await watching.put("/runs")

    assert "GET" in answer.headers["allow"]
