"""What an index holds. Words are analysed before they come here: one analysis for every kind of index."""

from typing import Any

from search.indexes.query_parts import ADDRESS_INDEX_FIELDS
from search.query_tree import WORD_FIELDS

VERSION = 2
"""Rises whenever ``properties`` or the making of documents changes; older indexes are then copied into new ones."""

WHOLE = 2
"""The oldest version whose documents have every field. What is older is not copied but filled again."""

NAME_GAP = 1001
"""Positions between two file names: no NEAR reaches from one into the next."""

LONGEST_KEY = 8191
"""Characters of a whole address or file name; a longer one would pass the 32,766 bytes of a term, and is found by its
words alone."""


def properties() -> dict[str, Any]:
    """The fields. What is not ``index`` or ``doc_values`` serves nothing and takes no room."""
    key = {"type": "keyword", "ignore_above": LONGEST_KEY, "doc_values": False, "norms": False}
    number = {"type": "long"}
    flag = {"type": "boolean"}
    made: dict[str, Any] = {
        "id": {"type": "keyword"},
        "month": {"type": "keyword"},
        "rank": number,
        "version": number,
        "sent": number,
        "size": number,
        "has_attachment": flag,
        "not_fully_indexed": flag,
        "filename_whole": key,
        "flag": key,
        "original": {"type": "object", "enabled": False},
    }
    for name in WORD_FIELDS:
        made[name] = _words(NAME_GAP if name == "filename" else 1)
    for name in ADDRESS_INDEX_FIELDS:
        made[name] = _words(1)
        made[f"{name}_key"] = key
    return made


def _words(gap: int) -> dict[str, Any]:
    return {
        "type": "text",
        "analyzer": "whitespace",
        "norms": False,
        "index_options": "positions",
        "position_increment_gap": gap,
    }


def body(*, shards: int, replicas: int) -> dict[str, Any]:
    """``settings`` and ``mappings`` of a new index."""
    return {
        "settings": {
            "number_of_shards": shards,
            "number_of_replicas": replicas,
            "codec": "best_compression",
            # A write is seen when it is refreshed at its end, as a whole; nothing shows half of it before.
            "refresh_interval": "-1",
            # So long a late repetition of a request cannot bring back what was taken away.
            "gc_deletes": "1h",
            # Words of removed documents leave the disk whole when asked, not only where they are many.
            "merge.policy.expunge_deletes_allowed": 0,
            # A short word with two wrong letters becomes a long expression.
            "max_regex_length": 50_000,
        },
        "mappings": {
            "dynamic": "strict",
            "_meta": {"mapping": VERSION},
            "properties": properties(),
        },
    }
