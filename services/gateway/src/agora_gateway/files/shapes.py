"""Files as the public API shows them."""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from agora_contracts.files import File, FilePage
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema


class FileShape(msgspec.Struct, frozen=True, kw_only=True):
    """A file: size in bytes, SHA-256 in hex. `run` is set on what a run produced."""

    id: str
    name: str
    size: int
    sha256: str
    content_type: str
    created_at: datetime
    expires_at: datetime | None
    run: str | None


class FilePageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files, newest first, and how much of the tenant's quota is used, in bytes."""

    items: list[FileShape]
    used_bytes: int
    quota_bytes: int
    next_cursor: str | None = None


def file_shape(file: File) -> FileShape:
    """A file for its tenant."""
    fields = msgspec.structs.asdict(file)
    del fields["tenant"]
    return FileShape(**fields)


def file_page_shape(page: FilePage) -> FilePageShape:
    """A page of files for their tenant."""
    return FilePageShape(
        items=[file_shape(file) for file in page.items],
        used_bytes=page.used_bytes,
        quota_bytes=page.quota_bytes,
        next_cursor=page.next_cursor,
    )


# --- examples of the documentation ---------------------------------------------------------------

A_FILE = FileShape(
    id="file_0190a5b07c3a7d4e8f00112233445566",
    name="data.csv",
    size=5,
    sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    content_type="text/csv",
    created_at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
    expires_at=datetime(2026, 2, 4, 9, 0, tzinfo=UTC),
    run=None,
)
A_PAGE = FilePageShape(items=[A_FILE], used_bytes=5, quota_bytes=10_737_418_240)


@dataclass
class UploadOperation(Operation):
    """Describes the body of an upload, which the route reads as a stream and Litestar knows nothing of."""

    def __post_init__(self) -> None:
        """Add the two forms that a file may come in."""
        octets = Schema(type=OpenAPIType.STRING, content_media_type="application/octet-stream")
        form = Schema(type=OpenAPIType.OBJECT, properties={"file": octets}, required=["file"])
        self.request_body = RequestBody(
            description="The file as the form field `file`, or its bytes as the body with `?name=`.",
            required=True,
            content={
                "multipart/form-data": OpenAPIMediaType(schema=form),
                "application/octet-stream": OpenAPIMediaType(
                    schema=octets, examples={"csv": Example(summary="Example", value="a,b\n1,2\n")}
                ),
            },
        )
