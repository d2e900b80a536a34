"""Uploads of commands that can be repeated: with an idempotency key, a file that is there already is not sent again.

A run's input names files by their ids. Were the files of a repeated command uploaded anew, it would be another request
under the same key, and refused.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

from agora.client import Client

UPLOADS_AT_ONCE = 8
PAGES_MAX, PAGE = 50, 200
"""How far back a file is looked for that was uploaded before."""

type Content = tuple[str, str]
"""A file by its name and the SHA-256 of its bytes."""


async def upload_all(client: Client, paths: Sequence[Path], *, once: bool) -> list[str]:
    """The ids of files, in the order of their paths. With `once`, the same name with the same bytes is one file, and
    the one that was uploaded first if it is there.

    Raises:
        OSError: a file cannot be read.
    """
    if not once:
        return await _uploaded(client, paths)
    contents = await asyncio.gather(*(asyncio.to_thread(_content, path) for path in paths))
    ids = await _known(client, set(contents))
    missing = {content: path for content, path in zip(contents, paths, strict=True) if content not in ids}
    ids |= zip(missing, await _uploaded(client, list(missing.values())), strict=True)
    return [ids[content] for content in contents]


async def _uploaded(client: Client, paths: Sequence[Path]) -> list[str]:
    free = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def upload(path: Path) -> str:
        async with free:
            return (await client.files.upload(path)).id

    return list(await asyncio.gather(*(upload(path) for path in paths)))


def _content(path: Path) -> Content:
    with path.open("rb") as file:
        return path.name, hashlib.file_digest(file, "sha256").hexdigest()


async def _known(client: Client, wanted: set[Content]) -> dict[Content, str]:
    found: dict[Content, str] = {}
    cursor = None
    for _ in range(PAGES_MAX):
        page = await client.files.list(cursor=cursor, limit=PAGE)
        for file in page.items:
            if file.run is None and (file.name, file.sha256) in wanted:
                # Newest first: the last one found is the first one uploaded, and stays it.
                found[file.name, file.sha256] = file.id
        cursor = page.next_cursor
        if cursor is None:
            break
    return found
