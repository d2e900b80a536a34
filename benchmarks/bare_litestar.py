"""A bare Litestar route that answers with given bytes: what `bench gateway` is measured against."""

import os
from pathlib import Path

from litestar import Litestar, get

BODY = Path(os.environ["BENCH_BODY"]).read_bytes()


@get("/api/v1/packages", media_type="application/json")
async def packages() -> bytes:
    """The same bytes as the gateway's list of packages."""
    return BODY


app = Litestar([packages], openapi_config=None, logging_config=None)
