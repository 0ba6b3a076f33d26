"""SCIM filters and paths (RFC 7644 sections 3.4.2.2 and 3.5.2), as far as provisioning clients use them.

``userName eq "x"``, joined with ``and``; ``emails[type eq "work"].value``; either with a schema's URN before it. Raises
Invalid: ``scim.invalidFilter``, ``scim.invalidPath``.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from archive_service.model.errors import Invalid

_ATTRIBUTE = r"[A-Za-z$][A-Za-z0-9_$-]*"
_COMPARED = re.compile(
    rf'({_ATTRIBUTE}(?:\.{_ATTRIBUTE})?)\s+eq\s+("(?:[^"\\]|\\.)*"|true|false)', re.IGNORECASE
)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_URN = re.compile(r"(urn:[A-Za-z0-9:._-]+:(?:User|Group)):", re.IGNORECASE)
_PATH = re.compile(rf"({_ATTRIBUTE})(?:\[(.*)\])?(?:\.({_ATTRIBUTE}))?", re.DOTALL)
_LONGEST = 2000


@dataclass(frozen=True)
class Compared:
    """``attribute eq value``; the attribute's name in lower case."""

    attribute: str
    value: str | bool

    def fits(self, element: dict[str, Any]) -> bool:
        """Whether an element of a multi-valued attribute is meant. Names and text compare without case."""
        found = _named(element, self.attribute)
        if isinstance(self.value, bool):
            return bool(found) is self.value
        return isinstance(found, str) and found.casefold() == self.value.casefold()


@dataclass(frozen=True)
class Path:
    """``[schema:]attribute[chosen].part``; names in lower case, ``schema`` too."""

    schema: str
    attribute: str
    chosen: tuple[Compared, ...]
    part: str


def read_filter(text: str) -> list[Compared]:
    """Every comparison of a filter; all must hold. ``emails[type eq "work"].value eq "x"`` is read as its last part."""
    if len(text) > _LONGEST:
        raise Invalid("a filter that long is not read", code="scim.invalidFilter")
    plain = re.sub(rf"({_ATTRIBUTE})\[[^\]]*\](\.{_ATTRIBUTE})", r"\1\2", _URN.sub("", text.strip()))
    return [_compared(part, "scim.invalidFilter") for part in _AND.split(plain)]


def read_path(text: str) -> Path:
    """A path of a PATCH operation."""
    given = text.strip()
    urn = _URN.match(given)
    schema = urn[1].lower() if urn else ""
    found = _PATH.fullmatch(given[urn.end() :] if urn else given) if len(given) <= _LONGEST else None
    if found is None:
        raise Invalid("a path that is not understood", code="scim.invalidPath")
    chosen = (
        [_compared(part, "scim.invalidPath") for part in _AND.split(found[2].strip())] if found[2] else []
    )
    return Path(schema, found[1].lower(), tuple(chosen), (found[3] or "").lower())


def _compared(text: str, code: str) -> Compared:
    found = _COMPARED.fullmatch(text.strip())
    if found is None:
        raise Invalid('only comparisons as in userName eq "x" are understood', code=code)
    try:
        value = json.loads(found[2] if found[2].startswith('"') else found[2].lower())
    except ValueError as error:
        raise Invalid("a value that is no JSON text", code=code) from error
    return Compared(found[1].lower(), value)


def _named(element: dict[str, Any], name: str) -> Any:
    return next((value for key, value in element.items() if key.lower() == name), None)
