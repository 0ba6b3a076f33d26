"""Writing into the Elasticsearch index against bare bulk of the same documents: ``python -m bench.es_index URL``.

Prints one JSON object a round: documents a second of ``ElasticsearchIndex.write`` in batches as the follower makes them
(analysis, looking up what stands, versions, durable, searchable after each batch), and of the client's own bulk helper
with the same finished sources into indexes of the same mapping, refreshed once at its end.
"""

import argparse
import json
import random
import secrets
import time

from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk

from search.indexes.base import IndexDocument
from search.indexes.elasticsearch import ElasticsearchConnection, ElasticsearchIndex, mapping
from search.indexes.elasticsearch.documents import source_of

BATCH = 200
MONTHS = 12


def corpus(count: int, seed: int) -> list[IndexDocument]:
    """Mails of some 300 words, of a vocabulary as uneven as a language's."""
    chosen = random.Random(seed)
    vocabulary = [
        "".join(chosen.choices("abcdefghilmnoprstuvé", k=chosen.randint(2, 11))) for _ in range(50_000)
    ]
    weights = [1 / (rank + 2) for rank in range(len(vocabulary))]
    words = chosen.choices(vocabulary, weights, k=2_000_000)

    def text(length: int) -> str:
        start = chosen.randrange(len(words) - length)
        return " ".join(words[start : start + length])

    people = [f"{chosen.choice(vocabulary)}.{n}@ex.fr" for n in range(500)]
    return [
        IndexDocument(
            id=f"{seed:08x}{n:024x}",
            rank=n,
            version=n + 1,
            month=f"2024-{n * MONTHS // count + 1:02}",
            sent=1_704_067_200 + n,
            size=20_000,
            subject=text(6),
            sender=chosen.choice(people),
            to=tuple(chosen.choices(people, k=3)),
            cc=(),
            bcc=(),
            other_recipients=(),
            body=text(chosen.randint(20, 600)),
            attachments=text(400) if n % 4 == 0 else "",
            filenames=("rapport.pdf",) if n % 4 == 0 else (),
        )
        for n in range(count)
    ]


def ours(url: str, prefix: str, documents: list[IndexDocument]) -> float:
    """Seconds."""
    index = ElasticsearchIndex(ElasticsearchConnection((url,), prefix=prefix, replicas=0), "ours")
    index.clear()
    index.write(list({document.month: document for document in documents}.values()))  # the months' indexes
    began = time.perf_counter()
    for start in range(0, len(documents), BATCH):
        index.write(documents[start : start + BATCH])
    taken = time.perf_counter() - began
    assert len(index.ids()) == len(documents)
    index.close()
    return taken


def bare(client: Elasticsearch, prefix: str, documents: list[IndexDocument]) -> float:
    """Seconds."""
    months = sorted({document.month for document in documents})
    for month in months:
        client.indices.create(index=f"{prefix}.bare.{month}", **mapping.body(shards=1, replicas=0))
    actions = [
        {"_index": f"{prefix}.bare.{document.month}", "_id": document.id, "_source": source_of(document)}
        for document in documents
    ]
    began = time.perf_counter()
    bulk(client, actions, chunk_size=500)
    client.indices.refresh(index=f"{prefix}.bare.*")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    documents = corpus(given.documents, 1)
    with Elasticsearch(given.url, request_timeout=120) as client:
        for number in range(given.rounds):
            prefix = f"bench-{secrets.token_hex(4)}"
            figures = {"ours": ours(given.url, prefix, documents), "bare": bare(client, prefix, documents)}
            client.indices.delete(index=list(client.indices.get(index=f"{prefix}.*")))
            rates = {name: round(len(documents) / seconds, 1) for name, seconds in figures.items()}
            ratio = round(figures["bare"] / figures["ours"], 2)
            print(json.dumps({"round": number, "documents/s": rates, "ratio": ratio}), flush=True)


if __name__ == "__main__":
    main()
