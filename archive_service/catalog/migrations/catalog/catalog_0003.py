"""Evidence: its rows, and which captures are still to be looked at. All of those that stand are."""

import sqlalchemy as sa
from alembic import op

from archive_service.catalog.columns import AnyText, AsciiJson

revision = "catalog_0003"
down_revision = "catalog_0002"


def upgrade() -> None:
    """See ``tables``. The columns are nullable, so that no engine writes a row anew to have them."""
    op.create_table(
        "evidence",
        sa.Column("order_seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("capture", AnyText, nullable=False),
        sa.Column("look", AnyText, nullable=False),
        sa.Column("at", AnyText, nullable=False),
        sa.Column("mark", AnyText),
        sa.Column("content", AsciiJson, nullable=False),
    )
    op.create_index("ix_evidence_capture", "evidence", ["capture"])
    op.create_index("evidence_by_mark", "evidence", ["mark", "at"])
    for name in ("malware_due", "origin_due"):
        op.add_column("captures", sa.Column(name, sa.BigInteger, server_default="0"))
        op.create_index(f"captures_by_{name}", "captures", [name, "order_seq"])
