"""A database as the catalog uses it; ``sqlite`` and ``postgres`` are the two there are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from archive_service.model.errors import StoreError

_Found = TypeVar("_Found")


class Database(ABC):
    """Thread-safe. Failures are StoreErrors: ``catalog.unavailable`` (the server is gone: whether the last transaction
    took effect is unknown; the next call reconnects by itself), ``catalog.busy`` (every connection in use, locks),
    ``catalog.readonly`` (a standby), ``catalog.denied``, ``catalog.unreadable`` (rebuild it), ``catalog.failed``,
    StoreFull.
    """

    schema: str | None = None
    """Where its tables stand; None: the engine's only place."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @abstractmethod
    def write(self, work: Callable[[Connection], _Found]) -> _Found:
        """``work`` in one transaction, durable on return, rolled back on any error. It may run again from its beginning
        after a deadlock, so it changes nothing but through its connection."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of it from one state."""
        with self.translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """A transaction that looks whether the tables are there at all."""
        with self.reading() as connection:
            yield connection

    @abstractmethod
    def make_place(self, connection: Connection) -> None:
        """In a write: let nobody else migrate until its end, and make unqualified names those of this database."""

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Database errors as ours. PostgreSQL's own text may quote values, so it is not kept as the cause."""
        try:
            yield
        except PoolTimeout as error:
            raise StoreError("every connection to the database is in use", code="catalog.busy") from error
        except DBAPIError as error:
            raise self.failure(error) from None
        except SQLAlchemyError as error:
            raise StoreError(f"the database failed: {type(error).__name__}", code="catalog.failed") from None

    @abstractmethod
    def scrub(self) -> None:
        """Take off the medium what deleted rows have left there, as far as the engine lets it be told when."""

    @abstractmethod
    def failure(self, error: DBAPIError) -> StoreError:
        """Our error for one of the driver's."""

    @abstractmethod
    def close(self) -> None:
        """Let its connections go."""
