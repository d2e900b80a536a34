"""HTTP of the documentation: the OpenAPI document, and a page for it whose parts all come from here."""

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.static_files import create_static_files_router

from agora_gateway.edge.gate import DOCS_ASSETS, PREFIX

_SIDECAR = "drf_spectacular_sidecar"
_SWAGGER_UI = "static/drf_spectacular_sidecar/swagger-ui-dist"
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Agora API</title>
<link rel="icon" type="image/png" href="{DOCS_ASSETS}favicon-32x32.png">
<link rel="stylesheet" href="{DOCS_ASSETS}swagger-ui.css">
<script defer src="{DOCS_ASSETS}swagger-ui-bundle.js"></script>
<script defer src="{DOCS_ASSETS}start.js"></script>
</head>
<body><div id="docs"></div><noscript>This page needs JavaScript; /openapi.json does not.</noscript></body>
</html>
"""


@get(["/openapi.json", f"{PREFIX}/openapi.json"], include_in_schema=False, sync_to_thread=False)
def openapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document; made once, it never changes while the process runs."""
    state = request.app.state
    if "openapi_document" not in state:
        state["openapi_document"] = msgspec.json.encode(request.app.openapi_schema.to_schema())
    return Response(state["openapi_document"], media_type="application/json")


@get(["/docs", f"{PREFIX}/docs"], include_in_schema=False, sync_to_thread=False)
def docs_page() -> Response[str]:
    """The page that shows the document."""
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
    return Response(_PAGE, media_type="text/html", headers=headers)


def _assets() -> Router:
    """Serves the files of Swagger UI out of the package that ships them.

    The package is found and not imported: it is made for Django, which we do without.

    Raises:
        RuntimeError: the package is not installed.
    """
    spec = importlib.util.find_spec(_SIDECAR)
    if spec is None or spec.origin is None:
        raise RuntimeError("drf-spectacular-sidecar, which has the files of the docs page, is not installed")
    return create_static_files_router(
        path=DOCS_ASSETS.rstrip("/"),
        directories=[Path(spec.origin).parent / _SWAGGER_UI, Path(__file__).parent / "assets"],
        include_in_schema=False,
        send_as_attachment=False,
    )


router = Router("", route_handlers=[openapi_document, docs_page, _assets()])
