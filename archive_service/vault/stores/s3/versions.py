"""Listing a versioned bucket: every version and delete marker, put together name by name, oldest first.

S3 gives names in order and within a name the newest first, versions and markers in two lists, in pages that may end
in the middle of a name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from archive_service.vault.stores.base import Stored
from archive_service.vault.stores.s3.client import S3Client

_LARGEST_PAGE = 1000  # the API's own bound


@dataclass
class Group:
    """All that stands under one name, oldest first."""

    key: str
    versions: list[Stored] = field(default_factory=list)
    markers: list[Stored] = field(default_factory=list)


def pages(client: S3Client, prefix: str, after: str = "", *, size: int = 4) -> Iterator[list[Group]]:
    """Every name under ``prefix`` greater than ``after``, in order, each with all it has, as the requests bring them.
    The first request asks for ``size`` versions, each further one for eight times as many: who takes only the first
    name pays for little. Raises StoreError."""
    place: dict[str, str] = {"KeyMarker": after} if after and after >= prefix else {}
    if place and not after.startswith(prefix):
        return  # the names all come before it
    begun: dict[str, Group] = {}
    while True:
        answer = client.call("list_object_versions", f"folder {prefix}", Prefix=prefix, MaxKeys=size, **place)
        last = _take(answer, begun)
        more = bool(answer.get("IsTruncated"))
        whole = sorted(
            key for key in begun if key < last or not more
        )  # the last name may go on in the next page
        yield [_oldest_first(begun.pop(key)) for key in whole]
        if not more:
            return
        place = _next(answer)
        size = min(8 * size, _LARGEST_PAGE)


def groups(client: S3Client, prefix: str, after: str = "") -> Iterator[Group]:
    """The same, name by name."""
    for page in pages(client, prefix, after):
        yield from (group for group in page if group.key > after)


def _take(answer: dict[str, Any], into: dict[str, Group]) -> str:
    """Sort a page's versions and markers into groups; the greatest name of the page."""
    last = ""
    for kind, marker in (("Versions", False), ("DeleteMarkers", True)):
        for item in answer.get(kind, []):
            key = str(item["Key"])
            last = max(last, key)
            group = into.setdefault(key, Group(key))
            found, stored = group.markers if marker else group.versions, _stored(item, marker=marker)
            if stored not in found[-1:]:  # versitygw begins a page with the version that ended the one before
                found.append(stored)
    return last


def _stored(item: dict[str, Any], *, marker: bool) -> Stored:
    modified = item["LastModified"].astimezone(UTC)
    return Stored(str(item["Key"]), str(item["VersionId"]), int(item.get("Size", 0)), modified, marker)


def _oldest_first(group: Group) -> Group:
    group.versions.reverse()
    group.markers.reverse()
    return group


def _next(answer: dict[str, Any]) -> dict[str, str]:
    place = {"KeyMarker": str(answer["NextKeyMarker"])}
    if answer.get("NextVersionIdMarker"):
        place["VersionIdMarker"] = str(answer["NextVersionIdMarker"])
    return place


def group_of(client: S3Client, key: str) -> Group:
    """All that stands under one name; empty when nothing does. Raises StoreError."""
    for group in groups(client, key):
        return group if group.key == key else Group(key)
    return Group(key)


def just_before(key: str) -> str:
    """A marker that comes before ``key`` and after every archive name that is less: its last letter lowered by one,
    then ``~``, which no name has and which is greater than what names are made of."""
    return f"{key[:-1]}{chr(ord(key[-1]) - 1)}~"
