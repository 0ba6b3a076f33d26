"""The search index on Elasticsearch. Reading order: ``mapping`` (what an index holds), ``layout`` (names, months,
aliases), ``documents`` and ``queries`` (from our words to its own), ``failures``, ``bulk`` and ``writing``, ``scan``
and ``searching``, then ``index``, which joins them.
"""

from search.indexes.elasticsearch.connection import ElasticsearchConnection
from search.indexes.elasticsearch.index import ElasticsearchIndex

__all__ = ["ElasticsearchConnection", "ElasticsearchIndex"]
