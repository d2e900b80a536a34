"""Objects in a folder: whole or not at all, and never outside."""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agora_contracts.problems import AgoraError
from agora_kit.objects import FolderObjects

KEY = "ten_1/file_1"


async def chunks(*parts: bytes, fail: bool = False) -> AsyncIterator[bytes]:
    """An upload, which may break off at its end."""
    for part in parts:
        yield part
    if fail:
        raise ConnectionResetError("the caller went away")


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    """An empty store beside a file that is nobody's business."""
    (tmp_path / "secret").write_bytes(b"secret")
    return FolderObjects(tmp_path / "objects")


def files(objects: FolderObjects) -> list[str]:
    """All files of the store, temporary ones included."""
    return sorted(path.name for path in objects._folder.rglob("*") if path.is_file())


async def read(objects: FolderObjects, key: str = KEY) -> bytes:
    """An object, whole."""
    return b"".join([chunk async for chunk in objects.read(key)])


async def test_what_a_dead_process_left_is_dropped(objects: FolderObjects):
    """
    The bytes of an upload whose process was killed go when they are old; objects and living uploads stay.
    """
    await objects.put(KEY, chunks(b"whole"), size_max=7)
    for name, age_seconds in ((".upload-dead", 7200), (".upload-alive", 60), ("old", 7200)):
        path = objects._folder / "ten_1" / name
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age_seconds,) * 2)

    assert 1 == await objects.drop_unfinished(3600)
    assert [".upload-alive", "file_1", "old"] == files(objects)


async def test_an_object_is_stored_as_it_came(objects: FolderObjects):
    """
    Size and checksum are those of the bytes, which can be read back in chunks or as a file.
    """
    stored = await objects.put(KEY, chunks(b"one ", b"two"), size_max=7)

    assert (7, hashlib.sha256(b"one two").hexdigest()) == (stored.size, stored.sha256)
    assert b"one two" == await read(objects)
    assert b"one two" == (await objects.path(KEY)).read_bytes()


async def test_an_object_that_is_too_large_leaves_nothing(objects: FolderObjects):
    """
    The bound holds while bytes arrive, and what had arrived is removed.
    """
    with pytest.raises(AgoraError, match="larger than 7 bytes") as refused:
        await objects.put(KEY, chunks(b"1234", b"5678"), size_max=7)

    assert "payload_too_large" == refused.value.slug
    assert [] == files(objects)


async def test_an_upload_that_breaks_off_changes_nothing(objects: FolderObjects):
    """
    The object from before stays as it was, and no rest lies beside it.
    """
    await objects.put(KEY, chunks(b"before"), size_max=100)

    with pytest.raises(ConnectionResetError):
        await objects.put(KEY, chunks(b"aft", fail=True), size_max=100)

    assert b"before" == await read(objects)
    assert ["file_1"] == files(objects)


async def test_an_object_is_replaced_whole(objects: FolderObjects):
    """
    Storing again under a key gives the new bytes.
    """
    await objects.put(KEY, chunks(b"a longer one"), size_max=100)
    await objects.put(KEY, chunks(b"new"), size_max=100)

    assert b"new" == await read(objects)


async def test_a_deleted_object_is_gone(objects: FolderObjects):
    """
    Reading it says so, and deleting it again changes nothing.
    """
    await objects.put(KEY, chunks(b"x"), size_max=1)
    await objects.delete(KEY)
    await objects.delete(KEY)

    for reading in (read(objects), objects.path(KEY)):
        with pytest.raises(AgoraError) as refused:
            await reading
        assert "not_found" == refused.value.slug


@pytest.mark.parametrize(
    "key",
    [
        "../secret",
        "ten_1/../../secret",
        "/etc/passwd",
        "ten_1/..",
        "ten_1/.",
        "ten_1",
        "",
        "ten_1/a\n",
        "a b/c",
        "ten_1//a",
        "ten_1/a/",
        "a/b/c/d/e",
        "ä/b",
        "a\\b/c",
        "ten_1/" + "x" * 101,
    ],
)
async def test_a_key_cannot_lead_out_of_the_folder(objects: FolderObjects, tmp_path: Path, key: str):
    """
    Whatever is no plain key is refused by every operation, and nothing outside is touched.
    """
    with pytest.raises(ValueError, match="not an object key"):
        await objects.put(key, chunks(b"x"), size_max=10)
    with pytest.raises(ValueError, match="not an object key"):
        await read(objects, key)
    with pytest.raises(ValueError, match="not an object key"):
        await objects.delete(key)
    assert b"secret" == (tmp_path / "secret").read_bytes()
