"""What the quantities come to: by the price that the archive's keeper has set for its store."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

_GIB = 1 << 30
_MONTH = int(timedelta(days=365.25 / 12).total_seconds())
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Price:
    """Of a GiB for a month; ``currency`` by ISO 4217."""

    per_gib_month: Decimal
    currency: str

    def of(self, standing: int, byte_seconds: int) -> dict[str, Any]:
        """JSON-ready, amounts as decimal digits, rounded to hundredths: what ``standing`` bytes cost a month, and what
        was stored for so many ``byte_seconds`` has cost. One copy, without requests, keys, index and database."""
        return {
            "per_gib_month": str(self.per_gib_month),
            "currency": self.currency,
            "month": str((standing * self.per_gib_month / _GIB).quantize(_CENT)),
            "span": str((byte_seconds * self.per_gib_month / _GIB / _MONTH).quantize(_CENT)),
        }
