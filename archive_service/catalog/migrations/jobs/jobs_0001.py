"""The table of jobs as it was before there were migrations."""

import sqlalchemy as sa
from alembic import op

from archive_service.catalog.columns import AnyText, AsciiJson

revision = "jobs_0001"
down_revision = None


def upgrade() -> None:
    """See ``tables``."""
    op.create_table(
        "jobs",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", AnyText, nullable=False, unique=True),
        sa.Column("kind", AnyText, nullable=False),
        sa.Column("actor", AnyText, nullable=False),
        sa.Column("request", AsciiJson, nullable=False),
        sa.Column("state", AnyText, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("error", AnyText),
        sa.Column("result", AsciiJson),
        sa.Column("created_at", AnyText, nullable=False),
        sa.Column("lease", AnyText),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
