"""Mail as a download: bytes that no browser shows in place."""

from fastapi import Response

_FORMS = {"eml": "message/rfc822", "msg": "application/vnd.ms-outlook"}


def mail_response(data: bytes, name: str, flags: tuple[str, ...]) -> Response:
    """``name``: a well-formed id. RFC 6266 section 4.2 makes it a file to save. ``flags``: of the capture's finding;
    they say when the bytes are no mail but a file of Outlook."""
    form = "msg" if "outlook_msg" in flags else "eml"
    return Response(
        data,
        media_type=_FORMS[form],
        headers={"Content-Disposition": f'attachment; filename="{name}.{form}"'},
    )
