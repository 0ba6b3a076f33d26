"""How an index looks up what its documents hold: who may write to the server can change that, and leave every document
as it is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from elasticsearch import Elasticsearch

from search.indexes.elasticsearch import mapping

_TOLD = ("analysis", "default_pipeline", "final_pipeline", "query", "search", "similarity", "sort")
"""Settings of an index that change what is written or found, and have no value unless somebody gives them one."""


def shape(client: Elasticsearch, alias: str, target: str) -> dict[str, str]:
    """By field, a digest over its mapping in all indexes of ``target``; and over all else there ("index"): further
    fields, fields made at search time, analysers, pipelines, filters of the readers' ``alias``. Equal where an index
    is as this release makes it."""
    said: dict[str, set[str]] = {}
    answer = client.indices.get(index=target, features=["aliases", "mappings", "settings"])
    for about in answer.body.values():
        for name, what in _parts(about, alias):
            said.setdefault(name, set()).add(json.dumps(what, sort_keys=True))
    return {name: hashlib.sha256("\n".join(sorted(what)).encode()).hexdigest() for name, what in said.items()}


def _parts(about: Mapping[str, Any], alias: str) -> Iterator[tuple[str, Any]]:
    mappings = dict(about.get("mappings", {}))
    fields = dict(mappings.pop("properties", {}))
    for name in mapping.properties():
        yield name, fields.pop(name, None)
    settings = about.get("settings", {}).get("index", {})
    told = {name: settings[name] for name in _TOLD if name in settings}
    yield "index", [fields, mappings, told, about.get("aliases", {}).get(alias, {})]
