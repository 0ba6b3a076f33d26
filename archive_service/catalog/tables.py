"""The tables of the projections. Any SQL engine; what a column holds is what its row's field holds.

Findings and merged messages are JSON: nothing queries inside them here, the search index does that. How the tables come
to be: ``migrations``.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from archive_service.catalog.columns import AnyText, AsciiJson

FORMAT = 2
"""What the rows mean. Raised when rows must be made anew from the logs: an older catalog is then rebuilt. A change that
can be made in place (an index, a column with a known value) is a migration instead, and leaves this as it is."""

metadata = MetaData()

position = Table(
    "position",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("indexed", BigInteger, nullable=False),
    Column("acts", BigInteger, nullable=False),
    Column("counted_from", BigInteger, nullable=False, server_default="0"),  # the first hour in ``arrivals``
    Column("born", AnyText, nullable=False, server_default=""),  # drawn when the catalog was made
)

messages = Table(
    "messages",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("rank", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("month", AnyText, nullable=False),
    Column("content", AsciiJson, nullable=False),  # sender, subject, sent_at, recipients, envelope_complete
    Index("messages_by_rank", "rank"),
)

captures = Table(
    "captures",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("log", AnyText, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("order_seq", BigInteger, nullable=False, unique=True),  # ranks are unique only if it is
    Column("object_key", AnyText, nullable=False),
    Column("lock_until", AnyText, nullable=False),
    # Checked at commit: a stretch rewrites its messages under captures that stand.
    Column(
        "message",
        ForeignKey("messages.id", deferrable=True, initially="DEFERRED"),
        nullable=False,
        index=True,
    ),
    Column("finding", AsciiJson, nullable=False),
    Column("malware_due", BigInteger, server_default="0"),  # see ``evidence``
    Column("origin_due", BigInteger, server_default="0"),
    UniqueConstraint("log", "seq"),
    Index("captures_by_malware_due", "malware_due", "order_seq"),
    Index("captures_by_origin_due", "origin_due", "order_seq"),
)

sources = Table(
    "sources",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("content", AsciiJson, nullable=False),
)

flags = Table(
    "flags",
    metadata,
    Column("capture", AnyText, primary_key=True),
    Column("flag", AnyText, primary_key=True),  # a word of ``Parsed.flags``
    Index("flags_by_flag", "flag"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("order_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("capture", AnyText, nullable=False, index=True),
    Column("look", AnyText, nullable=False),
    Column("at", AnyText, nullable=False),
    Column("mark", AnyText),  # the name of malware that was found
    Column("content", AsciiJson, nullable=False),  # ``Evidence.summary``
    Index("evidence_by_mark", "mark", "at"),
)

text_marks = Table(
    "text_marks",
    metadata,
    Column("capture", AnyText, primary_key=True),
    Column("condition", AnyText, primary_key=True),  # the key of a condition on the text
    Column("holds", Boolean),  # NULL: it cannot be told
    Column("seal", AnyText, nullable=False),  # ``mark_seals``
)

unread = Table(
    "unread",
    metadata,
    Column("log", AnyText, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("id", AnyText, primary_key=True),  # a capture's
    Column("order_seq", BigInteger, nullable=False, index=True),
    Column("message", AnyText),  # which it was of, if it had a row: the index must look at that one again
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("source", AnyText, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # of receipt, since 1970
    Column("kind", AnyText, primary_key=True),  # see ``arrivals``
    Column("count", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),  # seconds since 1970
    Index("arrivals_by_hour", "hour"),
)

canaries = Table(
    "canaries",
    metadata,
    Column("source", AnyText, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", AnyText, nullable=False),
)

took = Table(
    "took",
    metadata,
    Column("id", AnyText, primary_key=True),  # a capture log's id
    Column("next", BigInteger, nullable=False),  # the seq that the order log takes next
)

job_metadata = MetaData()

jobs = Table(
    "jobs",
    job_metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order of arrival
    Column("id", AnyText, nullable=False, unique=True),
    Column("kind", AnyText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("request", AsciiJson, nullable=False),
    Column("state", AnyText, nullable=False, index=True),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("error", AnyText),
    Column("result", AsciiJson),
    Column("created_at", AnyText, nullable=False),
    Column("lease", AnyText),  # RFC 3339; when the worker last wrote
)
