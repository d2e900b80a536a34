"""The OpenAPI document and the page that shows it."""

import re
from typing import Any

import httpx
import jsonschema_rs
import pytest

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
async def document(anyone: httpx.AsyncClient) -> dict[str, Any]:
    """The document as it is served."""
    answer = await anyone.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation of the document."""
    return [item[method] for item in document["paths"].values() for method in METHODS if method in item]


async def test_every_route_is_described(document: dict[str, Any]):
    """
    OpenAPI 3.1: each operation has a name of its own, a summary, a description, a tag, and what it may refuse.
    """
    found = operations(document)

    assert document["openapi"].startswith("3.1")
    assert len(found) == len({operation["operationId"] for operation in found})
    for operation in found:
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        assert 1 == len(operation["tags"]), operation["operationId"]
        assert "401" in operation["responses"] or operation["tags"] == ["Health"]
        assert "/api/v1/health" in document["paths"]


async def test_every_example_fits_its_schema(document: dict[str, Any]):
    """
    Each route shows what to send and what comes back, and every such example is valid.
    """
    checked = 0
    for operation in operations(document):
        for content in _contents(operation):
            schema = content["schema"] | {"components": document["components"]}
            examples = [example["value"] for example in content.get("examples", {}).values()]
            examples += content["schema"].get("examples", [])
            assert examples or "multipart" in str(operation.get("requestBody")), operation["operationId"]
            for example in examples:
                jsonschema_rs.Draft202012Validator(schema).validate(example)
                checked += 1
    assert checked > 150


def _contents(operation: dict[str, Any]) -> list[dict[str, Any]]:
    described = [operation["requestBody"]] if "requestBody" in operation else []
    described += operation["responses"].values()
    return [content for part in described for content in part.get("content", {}).values()]


async def test_only_health_needs_no_key(document: dict[str, Any]):
    """
    Each operation says which credential it takes.
    """
    for operation in operations(document):
        kinds = {kind for choice in operation.get("security", []) for kind in choice}
        tag = operation["tags"][0]
        expected = {"Health": set(), "Operator": {"operator"}}.get(tag, {"bearer", "key"})
        assert expected == kinds, operation["operationId"]


async def test_the_docs_page_loads_nothing_from_elsewhere(anyone: httpx.AsyncClient):
    """
    Every script, style and picture of the page comes from the gateway itself, and is there.
    """
    page = await anyone.get("/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert 200 == page.status_code
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert 4 == len(links)
    for link in links:
        assert link.startswith("/docs/assets/")
        assert 200 == (await anyone.get(link)).status_code, link


async def test_the_docs_assets_are_no_way_out_of_their_folder(anyone: httpx.AsyncClient):
    """
    A path that climbs out of the folder finds nothing.
    """
    for path in ("../__init__.py", "..%2f__init__.py", "%2e%2e/apps.py", "%2fetc/passwd"):
        answer = await anyone.get(f"/docs/assets/{path}")
        assert answer.status_code in (401, 404), path
