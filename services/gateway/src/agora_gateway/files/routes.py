"""HTTP of files: up, list, down, away."""

from typing import Annotated, Any

from agora_contracts.files import DeleteFile, GetFile, ListFiles
from agora_kit.broker import Broker
from litestar import Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import TENANT_SECURITY, Cursor, FileId, Limit, answers, content, existing
from agora_gateway.files import model, shapes
from agora_gateway.files.service import Files
from agora_gateway.files.shapes import FilePageShape, FileShape, UploadOperation, file_page_shape, file_shape
from agora_gateway.files.uploads import OVERHEAD_MAX, open_upload

Name = Annotated[
    str | None,
    QueryParameter(name="name", description="The file's name; needed when the body is the bare bytes."),
]
Run = Annotated[str | None, QueryParameter(name="run", description="Only what this run produced.")]


@post(
    "/",
    guards=[requires("files")],
    request_max_body_size=model.SIZE_MAX + OVERHEAD_MAX,
    summary="Upload a file",
    operation_id="uploadFile",
    operation_class=UploadOperation,
    responses=answers(
        shapes.A_FILE,
        "malformed_request",
        "payload_too_large",
        "invalid_input",
        "quota_exceeded",
        status=201,
    ),
)
async def upload_file(
    request: Request[Any, Any, Any],
    files: NamedDependency[Files],
    tenant: NamedDependency[Tenant],
    name: Name = None,
) -> FileShape:
    """Send a file of up to 100 MB, as the form field `file` or as the body with `?name=`."""
    return file_shape(await files.upload(tenant.id, await open_upload(request, name)))


@get(
    "/",
    guards=[requires("files")],
    summary="List files",
    operation_id="listFiles",
    responses=answers(shapes.A_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_files(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    run: Run = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> FilePageShape:
    """The tenant's files, newest first, and how much of the quota they use."""
    query = ListFiles(tenant=tenant.id, run=run, cursor=cursor, limit=limit)
    return file_page_shape(await broker.ask(query))


@get(
    "/{file:str}",
    guards=[requires("files")],
    summary="Read a file's record",
    operation_id="getFile",
    responses=answers(shapes.A_FILE, "not_found"),
)
async def get_file(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], file: FileId
) -> FileShape:
    """Name, size, hash and dates of a file."""
    return file_shape(await broker.ask(GetFile(file=existing("file", file), tenant=tenant.id)))


@get(
    "/{file:str}/content",
    guards=[requires("files")],
    summary="Download a file",
    operation_id="downloadFile",
    responses=content(bytes, model.OCTETS, "The file's bytes.", "a,b\n1,2\n", "not_found"),
)
async def download_file(
    files: NamedDependency[Files], tenant: NamedDependency[Tenant], file: FileId
) -> Stream:
    """The file's bytes, to be saved and never shown in the page."""
    record, chunks = await files.download(tenant.id, existing("file", file))
    headers = {
        "content-disposition": model.content_disposition(record.name),
        "content-length": str(record.size),
        "content-security-policy": "sandbox",
        "etag": f'"{record.sha256}"',
        "x-content-type-options": "nosniff",
    }
    return Stream(chunks, media_type=model.media_type(record.content_type), headers=headers)


@delete(
    "/{file:str}",
    status_code=200,
    guards=[requires("files")],
    summary="Delete a file",
    operation_id="deleteFile",
    responses=answers(shapes.A_FILE, "not_found"),
)
async def delete_file(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], file: FileId
) -> FileShape:
    """Delete a file. Doing it again changes nothing."""
    return file_shape(await broker.ask(DeleteFile(file=existing("file", file), tenant=tenant.id)))


router = Router(
    "/files",
    route_handlers=[upload_file, list_files, get_file, download_file, delete_file],
    tags=["Files"],
    security=TENANT_SECURITY,
)
