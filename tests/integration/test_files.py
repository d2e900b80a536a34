"""Files in and out through the API."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import agora
import httpx
import pytest

from tests.support.answers import pages, refused
from tests.support.bookkeeping import nothing_changes

TABLE = "näme;value\nä;1\n".encode()


async def test_a_file_comes_back_as_it_went(http: httpx.AsyncClient):
    """
    Uploaded as a form or as bare bytes, a file has its size and hash, and downloads byte for byte, never to
    be shown in the page.
    """
    form = await http.post("/files", files={"file": ("täble.csv", TABLE, "text/csv")})
    bare = await http.post("/files", params={"name": "bare.bin"}, content=TABLE)
    for answer, name, kind in (
        (form, "täble.csv", "text/csv"),
        (bare, "bare.bin", "application/octet-stream"),
    ):
        assert answer.status_code == 201, answer.text
        file = answer.json()
        content = await http.get(f"/files/{file['id']}/content")
        assert (name, len(TABLE), kind) == (file["name"], file["size"], file["content_type"])
        assert hashlib.sha256(TABLE).hexdigest() == file["sha256"]
        assert file["created_at"] < file["expires_at"]
        assert file == (await http.get(f"/files/{file['id']}")).json()
        assert TABLE == content.content
        assert "nosniff" == content.headers["x-content-type-options"]
        assert content.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 1000, bytes(range(256)) * 12_000])
async def test_files_of_any_size_and_content(http: httpx.AsyncClient, content: bytes):
    """
    Empty, tiny, binary, larger than any JSON body: the bytes are the same.
    """
    file = (await http.post("/files", params={"name": "f"}, content=content)).json()

    assert len(content) == file["size"]
    assert content == (await http.get(f"/files/{file['id']}/content")).content


async def test_the_quota_is_counted_and_given_back(http: httpx.AsyncClient):
    """
    The list says how much is used; deleting, also twice, gives it back once.
    """
    empty = (await http.get("/files")).json()
    sizes = (1000, 20, 3)
    files = [
        (await http.post("/files", params={"name": f"{size}.bin"}, content=b"x" * size)).json()
        for size in sizes
    ]
    full = (await http.get("/files")).json()
    gone = [await http.delete(f"/files/{files[0]['id']}") for _ in range(2)]
    left = (await http.get("/files")).json()

    assert (0, 1023, 23) == (empty["used_bytes"], full["used_bytes"], left["used_bytes"])
    assert empty["quota_bytes"] == full["quota_bytes"] > 0
    assert [file["id"] for file in reversed(files)] == [file["id"] for file in full["items"]]
    assert [file["id"] for file in await pages(http, "/files", limit=1)] == [files[2]["id"], files[1]["id"]]
    assert 200 == gone[0].status_code
    assert gone[1].status_code in (200, 404)
    for path in ("", "/content"):
        refused(await http.get(f"/files/{files[0]['id']}{path}"), "not_found")


async def test_many_uploads_at_once_are_all_there(http: httpx.AsyncClient):
    """
    Twenty files sent concurrently under one name are twenty files, each with its own bytes.
    """
    answers = await asyncio.gather(
        *(http.post("/files", params={"name": "same.txt"}, content=str(n).encode()) for n in range(20))
    )
    contents = [(await http.get(f"/files/{answer.json()['id']}/content")).text for answer in answers]

    assert [str(number) for number in range(20)] == contents
    assert 20 == len(await pages(http, "/files"))


async def test_an_upload_that_breaks_off_leaves_nothing(http: httpx.AsyncClient):
    """
    A sender that dies in mid-file has uploaded nothing and used nothing of the quota.
    """

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionError("the sender died")

    async with nothing_changes(http):
        with pytest.raises(ConnectionError):
            await http.post("/files", params={"name": "half.bin"}, content=broken())
        await asyncio.sleep(0.2)
        assert 0 == (await http.get("/files")).json()["used_bytes"]


async def test_the_client_uploads_and_downloads(client: agora.Client, tmp_path: Path):
    """
    The typed client sends a path and writes the download where it is told.
    """
    source = tmp_path / "table.csv"
    source.write_bytes(TABLE)
    file = await client.files.upload(source)
    target = await client.files.download(file.id, tmp_path / "back.csv")
    await client.files.delete(file.id)

    assert ("table.csv", len(TABLE), "text/csv") == (file.name, file.size, file.content_type)
    assert TABLE == target.read_bytes()
    assert [] == (await client.files.list()).items
