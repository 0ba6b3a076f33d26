"""The tables of the projections. Any SQL engine; what a column holds is what its row's field holds.

Findings and merged messages are JSON: nothing queries inside them here, the search index does that.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

FORMAT = 2
"""Raised with every change below: an older catalog is then rebuilt, never altered in place."""

metadata = MetaData()

position = Table(
    "position",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("indexed", BigInteger, nullable=False),
    Column("acts", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("id", String, primary_key=True),
    Column("rank", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("month", String(7), nullable=False),
    Column("content", JSON, nullable=False),  # sender, subject, sent_at, recipients, envelope_complete
    Index("messages_by_rank", "rank"),
)

captures = Table(
    "captures",
    metadata,
    Column("id", String, primary_key=True),
    Column("log", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("order_seq", BigInteger, nullable=False, unique=True),  # ranks are unique only if it is
    Column("object_key", Text, nullable=False),
    Column("lock_until", String, nullable=False),
    # Checked at commit: a stretch rewrites its messages under captures that stand.
    Column(
        "message",
        String,
        ForeignKey("messages.id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        index=True,
    ),
    Column("finding", JSON, nullable=False),
    UniqueConstraint("log", "seq"),
)

sources = Table(
    "sources",
    metadata,
    Column("id", String, primary_key=True),
    Column("content", JSON, nullable=False),
)

flags = Table(
    "flags",
    metadata,
    Column("capture", String, primary_key=True),
    Column("flag", String, primary_key=True),  # a word of ``Parsed.flags``
    Index("flags_by_flag", "flag"),
)

unread = Table(
    "unread",
    metadata,
    Column("log", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("id", String, primary_key=True),  # a capture's
    Column("order_seq", BigInteger, nullable=False, index=True),
    Column("message", String),  # which it was of, if it had a row: the index must look at that one again
)

took = Table(
    "took",
    metadata,
    Column("id", String, primary_key=True),  # a capture log's id
    Column("next", BigInteger, nullable=False),  # the seq that the order log takes next
)

job_metadata = MetaData()

jobs = Table(
    "jobs",
    job_metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order of arrival
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("request", JSON, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("error", Text),
    Column("result", JSON(none_as_null=True)),
    Column("created_at", String, nullable=False),
    Column("lease", String),  # RFC 3339; when the worker last wrote
)
