"""Files: up, down, refused."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from agora_contracts.files import File, GetFile, RegisterFile
from agora_contracts.problems import AgoraError
from agora_gateway.app import Gateway
from agora_gateway.files import model
from agora_gateway.settings import GatewaySettings
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Customer, Others

type NewCustomer = Callable[..., Awaitable[Customer]]
CONTENT = b"a,b\n1,2\n" * 300_000


class Records:
    """Execution's records of files."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.refusal: AgoraError | None = None

    async def register(self, command: RegisterFile) -> File:
        if self.refusal is not None:
            raise self.refusal
        record = File(
            id=command.file,
            tenant=command.tenant,
            name=command.name,
            size=command.size,
            sha256=command.sha256,
            content_type=command.content_type,
            created_at=datetime.now(UTC),
        )
        self.files[command.file] = record
        return record

    async def get(self, query: GetFile) -> File:
        record = self.files.get(query.file)
        if record is None or record.tenant != query.tenant:
            raise AgoraError("not_found", f"there is no file {query.file}")
        return record


@pytest.fixture
async def records(customer: Customer, others: Others) -> Records:
    """What execution knows of files."""
    made = Records()
    await others.answer((RegisterFile, made.register), (GetFile, made.get))
    return made


def stored(settings: GatewaySettings) -> list[Path]:
    """Every file that lies in the object store."""
    return [path for path in Path(settings.objects_folder).rglob("*") if path.is_file()]


async def test_a_form_and_a_bare_body_store_the_same_file(customer: Customer, records: Records):
    """
    A file comes as the form field `file` or as the body, and is downloaded as it was, to be saved only.
    """
    form = await customer.http.post(
        "/files",
        data={"note": "ignored"},
        files={"file": ("Zahlen ü.csv", CONTENT, "text/csv; charset=utf-8")},
    )
    bare = await customer.http.post(
        "/files", params={"name": "Zahlen ü.csv"}, content=CONTENT, headers={"Content-Type": "text/csv"}
    )

    assert [201, 201] == [form.status_code, bare.status_code]
    for answer in (form.json(), bare.json()):
        assert ("Zahlen ü.csv", len(CONTENT), "text/csv") == (
            answer["name"],
            answer["size"],
            answer["content_type"],
        )
        assert hashlib.sha256(CONTENT).hexdigest() == answer["sha256"]
        assert "tenant" not in answer
        down = await customer.http.get(f"/files/{answer['id']}/content")
        assert CONTENT == down.content
        assert "text/csv" in down.headers["content-type"]
        assert "nosniff" == down.headers["x-content-type-options"]
        assert down.headers["content-disposition"].startswith("attachment; ")
        assert "filename*=UTF-8''Zahlen%20%C3%BC.csv" in down.headers["content-disposition"]


async def test_a_name_that_could_do_harm_is_refused(
    customer: Customer, records: Records, gateway_settings: GatewaySettings
):
    """
    Folders, control and invisible characters, no name or too long a one: 422, and nothing is kept.
    """
    bad = (
        "../../etc/passwd",
        "a/b.csv",
        "a\\b.csv",
        "..",
        "",
        "   ",
        "a\nb",
        "a\x00b",
        "a\u202eb",
        "x" * 256,
    )
    for name in bad:
        answer = await customer.http.post("/files", params={"name": name}, content=b"x")
        assert (422, "name") == (answer.status_code, answer.json()["errors"][0]["field"]), name
    assert [] == stored(gateway_settings)


async def test_a_forms_file_name_is_checked_too(customer: Customer, records: Records):
    """
    The name inside a form is judged like the one in the query.
    """
    answer = await customer.http.post("/files", files={"file": ("../../etc/passwd", b"x")})

    assert 422 == answer.status_code


async def test_requests_without_a_file_say_what_is_missing(customer: Customer, records: Records):
    """
    No name, no field, a form that is broken or was cut off.
    """
    no_name = await customer.http.post("/files", content=b"x")
    no_field = await customer.http.post("/files", files={"other": ("a.csv", b"x")})
    broken = await customer.http.post(
        "/files", content=b"--x\r\nrubbish", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    cut = await customer.http.post(
        "/files",
        content=b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )

    assert [400] * 4 == [answer.status_code for answer in (no_name, no_field, broken, cut)]
    assert 3 == len({answer.json()["detail"] for answer in (no_name, no_field, broken, cut)})


async def test_too_large_a_file_leaves_nothing(
    customer: Customer, records: Records, gateway_settings: GatewaySettings, monkeypatch: pytest.MonkeyPatch
):
    """
    A file beyond the limit is refused, also when its size was not announced, and its bytes are gone.
    """
    monkeypatch.setattr("agora_gateway.files.service.SIZE_MAX", 1000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    answer = await customer.http.post("/files", params={"name": "a"}, content=chunks())

    assert 413 == answer.status_code
    assert [] == stored(gateway_settings)


async def test_a_file_announced_as_too_large_is_refused_before_it_is_sent(
    customer: Customer, gateway: Gateway
):
    """
    The answer to a Content-Length beyond the limit does not wait for a single byte.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(
        f"POST /api/v1/files?name=a HTTP/1.1\r\nHost: x\r\nX-API-Key: {customer.key}\r\n"
        f"Content-Length: {model.SIZE_MAX * 2}\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()

    assert b"413" in status


async def test_a_refused_file_leaves_nothing(
    customer: Customer, records: Records, gateway_settings: GatewaySettings
):
    """
    When the tenant's quota is used up the answer says so and the bytes are gone again.
    """
    records.refusal = AgoraError("quota_exceeded", "the tenant's files would exceed the quota")

    answer = await customer.http.post("/files", params={"name": "a"}, content=b"x")

    assert 429 == answer.status_code
    assert [] == stored(gateway_settings)


async def test_another_tenants_file_is_not_there(
    new_customer: NewCustomer, customer: Customer, records: Records
):
    """
    A stranger who knows a file's id can neither read nor download it.
    """
    file = (await customer.http.post("/files", params={"name": "a"}, content=b"secret")).json()["id"]
    stranger: httpx.AsyncClient = (await new_customer()).http

    answers: list[Any] = [await stranger.get(f"/files/{file}"), await stranger.get(f"/files/{file}/content")]

    assert [404, 404] == [answer.status_code for answer in answers]


@given(st.text(max_size=300))
def test_a_name_that_is_taken_is_safe_in_a_header(name: str):
    """
    Whatever name passes, the header of its download is one line of plain ASCII with no way out of its quotes.
    """
    try:
        checked = model.check_name(name)
    except AgoraError:
        return
    header = model.content_disposition(checked)

    assert header.isascii()
    assert header.isprintable()
    assert 2 == header.count('"')
