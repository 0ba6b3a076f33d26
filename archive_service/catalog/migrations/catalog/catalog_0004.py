"""What mail says to the text conditions of retention rules. Empty at first: the follower reads for it.

``born`` tells a catalog from one that took its place, and has no marks."""

import sqlalchemy as sa
from alembic import op

from archive_service.catalog.columns import AnyText

revision = "catalog_0004"
down_revision = "catalog_0003"


def upgrade() -> None:
    """See ``tables``."""
    op.create_table(
        "text_marks",
        sa.Column("capture", AnyText, primary_key=True),
        sa.Column("condition", AnyText, primary_key=True),
        sa.Column("holds", sa.Boolean),
        sa.Column("seal", AnyText, nullable=False),
    )
    op.add_column("position", sa.Column("born", AnyText, nullable=False, server_default=""))
