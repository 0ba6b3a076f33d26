"""What columns hold: any text and any JSON, equal on every engine, sorted by bytes.

PostgreSQL stores no NUL in text, and neither engine a lone surrogate; mail, a token's subject or the path of a request
may hold both. JSON is therefore written in ASCII (every other character is an escape), and a text that would be refused
is written as a mark and its JSON. Ordinary text stands as it is.
"""

import json
import re
from typing import Any

from sqlalchemy import Dialect, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from archive_service.model.errors import StoreError

_MARK = "\x01"
"""Begins a text that is written as JSON; a text that begins with it itself is written so too."""

_REFUSED = re.compile("[\0\ud800-\udfff]|\\A" + _MARK)


def escaped(text: str) -> str:
    """As it is stored; the same text always gives the same, different texts never."""
    return _MARK + json.dumps(text) if _REFUSED.search(text) else text


def unescaped(stored: str) -> str:
    """The text that ``escaped`` was given. Raises ValueError on what it never made."""
    return str(json.loads(stored[1:])) if stored.startswith(_MARK) else stored


def unreadable() -> StoreError:
    """For a row that this program never wrote; what is in it is not in the words."""
    return StoreError("the database holds a row that cannot be read; rebuild it", code="catalog.unreadable")


class AnyText(TypeDecorator[str]):
    """Text compared and sorted by bytes, whatever the database's collation."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """The column's type on an engine."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the engine."""
        return None if value is None else escaped(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the engine; SQLite may give what is no text at all, which the reader of the row refuses. Raises
        StoreError."""
        try:
            return unescaped(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            raise unreadable() from None


class AsciiJson(TypeDecorator[Any]):
    """JSON as ASCII text; None is NULL. Nothing queries inside it. Reading raises StoreError when it is none."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the engine."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the engine."""
        try:
            return None if value is None else json.loads(value)
        except (TypeError, ValueError, RecursionError):
            raise unreadable() from None
