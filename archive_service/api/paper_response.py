"""A signed statement as it is asked for: in JSON, or on paper."""

from collections.abc import Callable
from typing import Any, Literal

from fastapi import Response
from fastapi.responses import JSONResponse

Format = Literal["json", "pdf"]


def signed_response(
    found: dict[str, Any], format: Format, paper: Callable[[dict[str, Any]], bytes], name: str
) -> Response:
    """``paper``: sets it as a PDF, which is a download of this ``name``."""
    if format == "json":
        return JSONResponse(found)
    headers = {"Content-Disposition": f'attachment; filename="{name}.pdf"'}
    return Response(paper(found), media_type="application/pdf", headers=headers)
