"""The API's description, as the running platform serves it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from agora_local.platform import Platform

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
async def document(market: Platform) -> dict[str, Any]:
    """The OpenAPI document; it needs no key."""
    async with httpx.AsyncClient(base_url=market.api_url) as anyone:
        answer = (await anyone.get("/api/v1/openapi.json")).raise_for_status()
        assert answer.content == (await anyone.get("/openapi.json")).content
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every route."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def examples(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Where an example stands, the schema beside it, and the example."""
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            for name, example in parameter.get("examples", {}).items():
                yield f"{method} {path} {parameter['name']} {name}", parameter["schema"], example["value"]
        parts = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for part, described in parts.items():
            for content in described.get("content", {}).values():
                for name, example in content.get("examples", {}).items():
                    yield f"{method} {path} {part} {name}", content["schema"], example["value"]
                for example in content.get("schema", {}).get("examples", []):
                    yield f"{method} {path} {part} schema", content["schema"], example


async def test_every_example_fits_its_own_schema(document: dict[str, Any]):
    """
    Whatever the document shows, sent or answered, is valid by the schema that stands beside it.
    """
    faults = []
    count = 0
    for place, schema, example in examples(document):
        count += 1
        validator = jsonschema_rs.Draft202012Validator(schema | {"components": document["components"]})
        faults += [f"{place}: {error.message}" for error in validator.iter_errors(example)]

    assert [] == faults
    assert count > 150


async def test_every_route_with_a_body_or_an_answer_shows_one(document: dict[str, Any]):
    """
    No JSON body is left without an example to copy.
    """
    shown = {place.rsplit(" ", 1)[0] for place, _, _ in examples(document)}
    for method, path, operation in operations(document):
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert f"{method} {path} body" in shown
        success = next(status for status in operation["responses"] if status.startswith("2"))
        if operation["responses"][success].get("content"):
            assert f"{method} {path} {success}" in shown


async def test_what_is_described_is_what_is_there(document: dict[str, Any], http: httpx.AsyncClient):
    """
    Every described route exists: with an unknown id it answers that, not that the route is missing, and the
    status of the refusal is one that the document names.
    """
    unknown = {"run": "run", "deployment": "dep", "file": "file", "key": "key", "tenant_id": "ten"}
    root = str(http.base_url).removesuffix("/api/v1/")
    for method, path, operation in operations(document):
        filled = re.sub(
            r"\{(\w+)\}",
            lambda found: f"{unknown[found[1]]}_{'a' * 32}" if found[1] in unknown else "nothing",
            path,
        )
        if filled != path:
            answer = await http.request(method, f"{root}{filled}", json={})
            assert answer.status_code in (400, 403, 404, 422), f"{method} {filled}: {answer.text}"
            assert "no such route" not in answer.text, f"{method} {filled}"
            assert str(answer.status_code) in operation["responses"], f"{method} {filled}: {answer.text}"


async def test_the_docs_page_needs_no_other_host(market: Platform):
    """
    Page, scripts and styles come from the platform, and nothing in the page names another host.
    """
    async with httpx.AsyncClient(base_url=market.api_url) as anyone:
        for path in ("/docs", "/api/v1/docs"):
            page = (await anyone.get(path)).raise_for_status()
            loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            assert loaded
            assert [] == re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page.text)
            for link in loaded:
                assert 200 == (await anyone.get(link)).status_code, link
            assert "default-src 'self'" in page.headers["content-security-policy"]
