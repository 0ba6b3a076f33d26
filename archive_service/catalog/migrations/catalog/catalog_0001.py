"""The tables of format 2."""

import sqlalchemy as sa
from alembic import op

from archive_service.catalog.columns import AnyText, AsciiJson

revision = "catalog_0001"
down_revision = None


def upgrade() -> None:
    """See ``tables``."""
    op.create_table(
        "position",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("indexed", sa.BigInteger, nullable=False),
        sa.Column("acts", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "messages",
        sa.Column("id", AnyText, primary_key=True),
        sa.Column("rank", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("month", AnyText, nullable=False),
        sa.Column("content", AsciiJson, nullable=False),
    )
    op.create_index("messages_by_rank", "messages", ["rank"])
    op.create_table(
        "captures",
        sa.Column("id", AnyText, primary_key=True),
        sa.Column("log", AnyText, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("order_seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("object_key", AnyText, nullable=False),
        sa.Column("lock_until", AnyText, nullable=False),
        sa.Column(
            "message",
            AnyText,
            sa.ForeignKey("messages.id", deferrable=True, initially="DEFERRED"),
            nullable=False,
        ),
        sa.Column("finding", AsciiJson, nullable=False),
        sa.UniqueConstraint("log", "seq"),
    )
    op.create_index("ix_captures_message", "captures", ["message"])
    op.create_table(
        "sources",
        sa.Column("id", AnyText, primary_key=True),
        sa.Column("content", AsciiJson, nullable=False),
    )
    op.create_table(
        "flags",
        sa.Column("capture", AnyText, primary_key=True),
        sa.Column("flag", AnyText, primary_key=True),
    )
    op.create_index("flags_by_flag", "flags", ["flag"])
    op.create_table(
        "unread",
        sa.Column("log", AnyText, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "withdrawn",
        sa.Column("id", AnyText, primary_key=True),
        sa.Column("order_seq", sa.BigInteger, nullable=False),
        sa.Column("message", AnyText),
    )
    op.create_index("ix_withdrawn_order_seq", "withdrawn", ["order_seq"])
    op.create_table(
        "took",
        sa.Column("id", AnyText, primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
    )
