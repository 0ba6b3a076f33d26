"""Mail as a download: bytes that no browser shows in place."""

from fastapi import Response


def mail_response(data: bytes, name: str) -> Response:
    """``name``: a well-formed id. RFC 6266 section 4.2 makes it a file to save."""
    return Response(
        data,
        media_type="message/rfc822",
        headers={"Content-Disposition": f'attachment; filename="{name}.eml"'},
    )
