"""Mail as a download: bytes that no browser shows in place."""

import re
from collections.abc import Iterable

from fastapi import Response

from archive_service.model.evidence import Evidence, marks

_MOST = 500  # characters of a header
_OTHER = re.compile(r"[^!-~]+")
_FORMS = {"eml": "message/rfc822", "msg": "application/vnd.ms-outlook"}


def mail_response(data: bytes, name: str, flags: tuple[str, ...], looks: Iterable[Evidence] = ()) -> Response:
    """``name``: a well-formed id. RFC 6266 section 4.2 makes it a file to save. ``flags``: of the capture's finding;
    they say when the bytes are no mail but a file of Outlook. ``looks``: what was seen of the mail; where malware was
    found ``X-Archive-Malware`` names it, so that a client can warn. The bytes are the same."""
    form = "msg" if "outlook_msg" in flags else "eml"
    return Response(
        data,
        media_type=_FORMS[form],
        headers={"Content-Disposition": f'attachment; filename="{name}.{form}"', **_warning(looks)},
    )


def _warning(looks: Iterable[Evidence]) -> dict[str, str]:
    found = [_OTHER.sub("_", name) for name in marks(looks)]
    return {"X-Archive-Malware": ", ".join(found)[:_MOST]} if found else {}
