"""What came hour by hour, by source. The newest captures are counted here, not all: that would take long."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from archive_service.catalog import arrivals
from archive_service.catalog.columns import AnyText, AsciiJson
from archive_service.model.mail import Finding

revision = "catalog_0002"
down_revision = "catalog_0001"

_MOST = 50_000  # captures; a few seconds
_CAPTURES = sa.table("captures", sa.column("order_seq", sa.BigInteger), sa.column("finding", AsciiJson))
_POSITION = sa.table("position", sa.column("counted_from", sa.BigInteger))


def upgrade() -> None:
    """See ``tables``."""
    counted_from = sa.Column("counted_from", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("position", counted_from)
    op.create_table(
        "arrivals",
        sa.Column("source", AnyText, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", AnyText, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.create_index("arrivals_by_hour", "arrivals", ["hour"])
    op.create_table(
        "canaries",
        sa.Column("source", AnyText, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("received_at", AnyText, nullable=False),
    )
    _count()


def _count() -> None:
    connection = op.get_bind()
    hours: list[int] = []
    arrivals.count(connection, _newest(connection, hours))
    if len(hours) == _MOST:
        connection.execute(sa.update(_POSITION).values(counted_from=min(hours) + 1))


def _newest(connection: sa.Connection, hours: list[int]) -> Iterator[Finding]:
    """One after the other, for they may be large; ``hours``: those of their receipt."""
    query = sa.select(_CAPTURES.c.finding).order_by(_CAPTURES.c.order_seq.desc()).limit(_MOST)
    with connection.execute(query, execution_options={"yield_per": 500}) as rows:
        for plain in rows.scalars():
            finding = Finding.model_validate(plain)
            hours.append((arrivals.seconds_of(finding.received_at) or 0) // 3600)
            yield finding
