"""Why somebody asks, decides, stops or takes away: the record is to say it."""

import unicodedata

from archive_service.model.errors import Invalid


def require_reason(reason: str) -> None:
    """Raises Invalid (``reason.missing``) for one in which nobody could read anything."""
    if all(unicodedata.category(each)[0] in "CZ" for each in reason):
        raise Invalid("say why (reason)", code="reason.missing")
