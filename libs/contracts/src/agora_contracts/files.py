"""Messages of files: what customers upload and runs write."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta


class RegisterFile(msgspec.Struct, frozen=True, kw_only=True):
    """Record a file whose bytes lie in the object store under `<tenant>/<file>`; refused over quota."""

    file: str
    tenant: str
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=0)]
    sha256: str
    content_type: Annotated[str, Meta(max_length=200)] = "application/octet-stream"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a tenant. `run` is set on what a run produced."""

    id: str
    tenant: str
    name: str
    size: int
    sha256: str
    content_type: str
    created_at: datetime
    expires_at: datetime | None = None
    run: str | None = None


class GetFile(msgspec.Struct, frozen=True, kw_only=True):
    """Read a file's record."""

    file: str
    tenant: str


class ListFiles(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's files, newest first."""

    tenant: str
    run: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files, and the tenant's quota in bytes."""

    items: list[File]
    used_bytes: int
    quota_bytes: int
    next_cursor: str | None = None


class DeleteFile(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a file; deleting it again changes nothing."""

    file: str
    tenant: str
