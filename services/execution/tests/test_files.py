"""Files of tenants: registered once, within their quota, opened and saved by steps."""

import asyncio
from typing import Any

import pytest
from agora_contracts.files import DeleteFile, File, GetFile, ListFiles, RegisterFile
from agora_contracts.problems import AgoraError
from agora_execution.files import service as files_service
from agora_execution.files.service import Files
from agora_kit.objects import FolderObjects

from .asking import OTHER_TENANT, TENANT, new_id
from .driving import Platform


def registration(**changes: Any) -> RegisterFile:
    """A command to register a file of a hundred bytes."""
    values: dict[str, Any] = {
        "file": new_id("file"), "tenant": TENANT, "name": "a.txt", "size": 100, "sha256": "0" * 64,
    }  # fmt: skip
    return RegisterFile(**(values | changes))


async def test_a_file_is_registered_read_listed_and_deleted(service_alone: Platform) -> None:
    """
    A file has its record until it is deleted; then it is gone, its bytes too.
    """
    file = await service_alone.upload(b"hello", name="greeting.txt")
    found: File = await service_alone.ask(GetFile(file=file, tenant=TENANT))
    assert ("greeting.txt", 5, None) == (found.name, found.size, found.run)
    page = await service_alone.ask(ListFiles(tenant=TENANT))
    assert ([found], 5, 100_000) == (page.items, page.used_bytes, page.quota_bytes)

    await service_alone.ask(DeleteFile(file=file, tenant=TENANT))
    for query in (GetFile(file=file, tenant=TENANT), DeleteFile(file=file, tenant=TENANT)):
        with pytest.raises(AgoraError) as caught:
            await service_alone.ask(query)
        assert "not_found" == caught.value.slug
    with pytest.raises(AgoraError):
        await FolderObjects(service_alone.settings.objects_folder).path(f"{TENANT}/{file}")
    assert 0 == (await service_alone.ask(ListFiles(tenant=TENANT))).used_bytes


async def test_an_upload_that_is_retried_is_one_file(service_alone: Platform) -> None:
    """
    The same id again replaces what it said and takes its room once; another tenant cannot take the id over.
    """
    command = registration(size=60_000)
    await service_alone.ask(command)
    await service_alone.ask(command)

    assert 60_000 == (await service_alone.ask(ListFiles(tenant=TENANT))).used_bytes
    with pytest.raises(AgoraError) as caught:
        await service_alone.ask(registration(file=command.file, tenant=OTHER_TENANT))
    assert "conflict" == caught.value.slug


async def test_uploads_at_once_cannot_share_the_last_bytes(service_alone: Platform) -> None:
    """
    Ten files of a fifth of the quota each: five fit, and the others are told so.
    """
    answers = await asyncio.gather(
        *(service_alone.ask(registration(size=20_000)) for _ in range(10)), return_exceptions=True
    )

    refused = [one for one in answers if isinstance(one, AgoraError)]
    assert (5, {"quota_exceeded"}) == (len(refused), {one.slug for one in refused})
    assert 100_000 == (await service_alone.ask(ListFiles(tenant=TENANT))).used_bytes


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "../etc/passwd"}, "/name"),
        ({"name": "a\\b"}, "/name"),
        ({"name": ".."}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"file": "file_short"}, "/file"),
        ({"file": "../../x"}, "/file"),
    ],
)
async def test_names_and_ids_that_cannot_be_are_refused(
    service_alone: Platform, change: dict[str, str], field: str
) -> None:
    """
    Path separators, control characters and made-up ids never reach the object store.
    """
    with pytest.raises(AgoraError) as caught:
        await service_alone.ask(registration(**change))

    assert ("invalid_input", [field]) == (
        caught.value.slug, [error.field for error in caught.value.problem.errors],
    )  # fmt: skip


async def test_another_tenants_file_is_not_found(service_alone: Platform) -> None:
    """
    It can be neither read, listed nor deleted.
    """
    file = await service_alone.upload(b"mine")
    for query in (GetFile(file=file, tenant=OTHER_TENANT), DeleteFile(file=file, tenant=OTHER_TENANT)):
        with pytest.raises(AgoraError) as caught:
            await service_alone.ask(query)
        assert "not_found" == caught.value.slug
    assert [] == (await service_alone.ask(ListFiles(tenant=OTHER_TENANT))).items
    assert file == (await service_alone.ask(GetFile(file=file, tenant=TENANT))).id


async def test_a_step_reads_a_file_of_its_tenant(probe_platform: Platform) -> None:
    """
    A file that the input names is opened under its name.
    """
    file = await probe_platform.upload(b"some words", name="words.txt")
    run = await probe_platform.run({"text": "x", "do": "read", "file": file}, package="probe")

    assert "words.txt: some words" == run.output["text"]


async def test_a_file_that_is_gone_fails_the_run_with_its_name(probe_platform: Platform) -> None:
    """
    Bytes that were lost since the upload are the run's clear end, not a riddle.
    """
    file = await probe_platform.upload(b"some words", name="words.txt")
    await FolderObjects(probe_platform.settings.objects_folder).delete(f"{TENANT}/{file}")
    run = await probe_platform.run({"text": "x", "do": "read", "file": file}, package="probe")

    assert ("failed", "file_gone", file) == (run.status, run.error.code, run.error.place)
    assert "words.txt" in run.error.detail


async def test_a_step_saves_a_file_for_its_run(probe_platform: Platform) -> None:
    """
    What a step delivers is the tenant's file, marked with the run, under a name that is safe.
    """
    run = await probe_platform.run({"text": "the report", "do": "save"}, package="probe")
    file = await probe_platform.ask(GetFile(file=run.output["file"], tenant=TENANT))
    path = await FolderObjects(probe_platform.settings.objects_folder).path(f"{TENANT}/{file.id}")

    assert (run.id, "text/plain", b"the report") == (file.run, file.content_type, path.read_bytes())
    assert "/" not in file.name
    listed = await probe_platform.ask(ListFiles(tenant=TENANT, run=run.id))
    assert [file.id] == [one.id for one in listed.items]


async def test_a_full_quota_fails_the_run_with_the_reason(probe_platform: Platform) -> None:
    """
    A step that cannot deliver its file for want of room says so, and is not tried again.
    """
    await probe_platform.ask(registration(size=99_999))
    run = await probe_platform.run({"text": "the report", "do": "save"}, package="probe")

    assert ("failed", "quota_exceeded") == (run.status, run.error.code)
    assert "delete some" in run.error.detail
    assert [] == list((probe_platform.settings.objects_folder / TENANT).glob("file_*"))


async def test_files_expire(service_alone: Platform) -> None:
    """
    A file past its retention is gone for its tenant at once, and its bytes with the next sweep.
    """
    file = await service_alone.upload(b"old")
    await service_alone.execute("UPDATE files SET expires_at = now() - interval '1 second'")
    with pytest.raises(AgoraError) as caught:
        await service_alone.ask(GetFile(file=file, tenant=TENANT))
    assert "not_found" == caught.value.slug
    await service_alone.files.expire()

    with pytest.raises(AgoraError):
        await FolderObjects(service_alone.settings.objects_folder).path(f"{TENANT}/{file}")


class Lost(FolderObjects):
    """An object store that does not answer when something is to be deleted."""

    async def delete(self, key: str) -> None:
        raise ConnectionError("the object store is away")


async def test_a_deletion_that_broke_off_is_finished_by_the_sweep(service_alone: Platform) -> None:
    """
    Whoever dies between a file's record and its bytes, in a deletion or in the sweep, leaves no bytes behind.
    """
    folder = service_alone.settings.objects_folder
    broken = Files(service_alone.database, Lost(folder), quota_bytes=100, retention_days=30)
    deleted, old = [await service_alone.upload(text) for text in (b"deleted", b"old")]
    with pytest.raises(ConnectionError):
        await broken.delete(DeleteFile(file=deleted, tenant=TENANT))
    with pytest.raises(AgoraError):
        await service_alone.ask(GetFile(file=deleted, tenant=TENANT))
    await service_alone.execute(
        "UPDATE files SET expires_at = now() - interval '1 second' WHERE id = :id", id=old
    )
    with pytest.raises(ConnectionError):
        await broken.expire()
    assert {deleted, old} == {path.name for path in (folder / TENANT).iterdir()}

    await service_alone.files.expire()

    assert [] == list((folder / TENANT).iterdir())
    assert 0 == (await service_alone.ask(ListFiles(tenant=TENANT))).used_bytes


async def test_more_files_expire_than_a_batch_holds(
    service_alone: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A sweep goes on until nothing is left that is past its time.
    """
    monkeypatch.setattr(files_service, "_EXPIRE_BATCH", 2)
    for _ in range(5):
        await service_alone.upload(b"old")
    await service_alone.execute("UPDATE files SET expires_at = now() - interval '1 second'")
    await service_alone.files.expire()

    assert [] == list((service_alone.settings.objects_folder / TENANT).iterdir())
