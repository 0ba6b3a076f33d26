"""Hostile mail is parsed in other processes: what hangs, crashes or bloats them is archived all the same.

A pool keeps long-lived workers (``parser_worker``), kills the one that breaks and starts another. A mail that
breaks its parser gets an honest minimum: its bytes whole, flagged, with the reason why it is not indexed.
"""

import json
import logging
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from archive_service.model.errors import Invalid, ParseFailed
from archive_service.model.evidence import DnsAnswer, Origin
from archive_service.model.mail import CaptureRecord, Parsed, SourceKind, Text
from archive_service.model.schedule import TextCondition
from ingest import parser_worker as protocol
from ingest.extraction import LIMIT
from ingest.interpret import unread

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parent.parent
_COMMAND = (sys.executable, "-P", "-m", "ingest.parser_worker")
_START_SECONDS = 120.0  # to import everything on a busy machine
_LARGEST_ANSWER = 1 << 27
_PIECE = 1 << 20
_CPU_MARGIN_SECONDS = 5.0
_ATTEMPTS = 2
_Answer = TypeVar("_Answer")
_XCPU = -24  # killed by SIGXCPU: its processor time ran out


def _failed(reason: str) -> ParseFailed:
    return ParseFailed("a mail broke its parser", code=f"parse.{reason}")


def _environment() -> dict[str, str]:
    """Only what a Python process needs: settings and secrets are none of a parser's business."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


class _Worker:
    """One worker process and the two pipes to it. Used by one thread at a time."""

    def __init__(self, command: Sequence[str], memory_bytes: int, timeout: float) -> None:
        limits = (str(memory_bytes), str(timeout + _CPU_MARGIN_SECONDS))
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            [*command, *limits], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
        )
        self._deadline = time.monotonic() + _START_SECONDS
        os.set_blocking(self._pipe(self._process.stdin).fileno(), False)
        os.set_blocking(self._pipe(self._process.stdout).fileno(), False)
        try:
            self.receive(protocol.READY)
        except ParseFailed as error:
            self.kill()
            raise ParseFailed("the parser worker does not start", code="parse.worker") from error

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise ParseFailed("the parser worker has no pipe", code="parse.worker")
        return pipe

    def begin(self, seconds: float) -> None:
        """All that follows is to be done within ``seconds``."""
        self._deadline = time.monotonic() + seconds

    def send(self, operation: bytes, document: bytes, raw: bytes) -> None:
        """Hand over a request. Raises ParseFailed when the worker dies or does not read it in time."""
        self._write(protocol.REQUEST.pack(operation, len(document), len(raw)) + document)
        self._write(raw)

    def receive(self, tag: bytes) -> bytes:
        """The JSON of the next answer frame, which must have this tag. Raises ParseFailed."""
        found, length = protocol.ANSWER.unpack(self._read(protocol.ANSWER.size))
        if found != tag or length > _LARGEST_ANSWER:
            raise _failed("crash")
        return self._read(length)

    def _wait(self, descriptor: int, event: int) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise _failed("timeout")

    def _write(self, data: bytes) -> None:
        descriptor = self._pipe(self._process.stdin).fileno()
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(descriptor, view[:_PIECE]) :]
            except BlockingIOError:
                self._wait(descriptor, select.POLLOUT)
            except BrokenPipeError as error:
                raise self._death() from error

    def _read(self, length: int) -> bytes:
        descriptor = self._pipe(self._process.stdout).fileno()
        pieces = bytearray()
        while len(pieces) < length:
            try:
                piece = os.read(descriptor, min(_PIECE, length - len(pieces)))
            except BlockingIOError:
                self._wait(descriptor, select.POLLIN)
                continue
            if not piece:
                raise self._death()
            pieces += piece
        return bytes(pieces)

    def _death(self) -> ParseFailed:
        """Why the worker closed its pipe."""
        try:
            status = self._process.wait(max(0.1, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return _failed("timeout")
        return _failed({protocol.OUT_OF_MEMORY: "memory", _XCPU: "timeout"}.get(status, "crash"))

    def stop(self) -> None:
        """End it; the thread that uses it will find it dead. For any thread."""
        self._process.kill()

    def kill(self) -> None:
        """End it, whatever it does, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _checked(answer: bytes, raw: bytes) -> Parsed:
    """An answer that keeps to its shape and its bounds: it comes from a process that read hostile mail."""
    try:
        parsed = Parsed.model_validate_json(answer)
    except ValueError as error:
        raise _failed("crash") from error
    start, end = parsed.inner_start, parsed.inner_end
    if not 0 <= start <= end <= len(raw):
        raise _failed("crash")
    if any(not start <= part.start <= part.end <= end for part in parsed.parts):
        raise _failed("crash")
    return parsed


def _checked_text(answer: bytes) -> Text:
    try:
        return Text.model_validate_json(answer)
    except ValueError as error:
        raise _failed("crash") from error


def _checked_marks(number: int, answer: bytes) -> list[bool | None]:
    try:
        said = json.loads(answer)
    except ValueError as error:
        raise _failed("crash") from error
    if (
        not isinstance(said, list)
        or len(said) != number
        or any(each not in (True, False, None) for each in said)
    ):
        raise _failed("crash")
    return [None if each is None else bool(each) for each in said]


def _broke(failure: ParseFailed) -> str:
    """By what a mail broke its parser; a failure that is not the mail's is raised on."""
    reason = failure.code.removeprefix("parse.")
    if reason not in ("timeout", "memory", "crash"):
        raise failure
    return reason


def _checked_origin(answer: bytes) -> tuple[Origin, list[str]]:
    try:
        said = json.loads(answer)
        return Origin.model_validate(said["origin"]), [str(name) for name in said["wanted"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _failed("crash") from error


class ParserPool:
    """Parses in ``workers`` processes, each within ``timeout`` seconds a mail and ``memory_bytes``.

    Thread-safe; a call waits while all workers are busy. Workers start when first needed, and stay in this
    process's group. ``command`` replaces the worker's program; the two limits are added to it.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        timeout: float = 30.0,
        memory_bytes: int = 2 << 30,
        text_limit: int = LIMIT,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        if workers < 1 or timeout <= 0 or memory_bytes <= 0 or text_limit < 0:
            raise Invalid("a parser pool needs a worker, time and memory")
        self.workers = workers
        self._timeout = timeout
        self._memory_bytes = memory_bytes
        self._text_limit = text_limit
        self._command = tuple(command)
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._live: set[_Worker] = set()
        self._closed = False
        for _ in range(workers):
            self._idle.put(None)

    def interpret(self, raw: bytes, kind: SourceKind, record: CaptureRecord) -> tuple[Parsed, Text]:
        """Parse a capture and extract its text. What breaks the parser twice (or once by time) comes back as
        what is known: ``unread``, or the Parsed whose text broke it, and a Text with the reason.

        Raises ParseFailed when no worker can be started (``parse.worker``) or the pool is closed
        (``parse.closed``): then nothing was learned of this mail and the call may be repeated.
        """
        document = {"kind": kind.value, "record": record.plain(), "limit": self._text_limit}
        parsed: Parsed | None = None
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                with self._worker() as worker:
                    worker.send(protocol.INTERPRET, json.dumps(document).encode("utf-8"), raw)
                    parsed = _checked(worker.receive(protocol.PARSED), raw)
                    return parsed, _checked_text(worker.receive(protocol.TEXT))
            except ParseFailed as failure:
                reason = self._reason(failure)
                if reason == "timeout":
                    break
        return parsed or unread(raw, kind), Text(not_fully_indexed=f"parser: {reason}")

    def extract(self, raw: bytes, parsed: Parsed) -> Text:
        """Text of a capture that was parsed before; raises and degrades as ``interpret`` does."""
        document = {"parsed": parsed.plain(), "limit": self._text_limit}
        try:
            return self._asked(protocol.EXTRACT, document, raw, protocol.TEXT, _checked_text)
        except ParseFailed as failure:
            return Text(not_fully_indexed=f"parser: {_broke(failure)}")

    def origin(
        self, inner: bytes, mail_from: str, known: Mapping[str, DnsAnswer]
    ) -> tuple[Origin, list[str]]:
        """What a message says of its origin, and which names it wanted (``evidence.authentication.examine``).
        Raises ParseFailed: ``parse.timeout``, ``parse.memory`` or ``parse.crash`` for a message that broke
        its worker twice (or once by time), else as ``interpret``."""
        plain = {name: answer.plain() for name, answer in known.items()}
        document = {"mail_from": mail_from, "known": plain}
        return self._asked(protocol.ORIGIN, document, inner, protocol.SEEN, _checked_origin)

    def marks(self, raw: bytes, parsed: Parsed, conditions: Sequence[TextCondition]) -> list[bool | None]:
        """What a capture that was parsed before says to each condition on its text (``text_marks.marks_of``); None for
        all where it breaks the parser. Raises as ``interpret``."""
        asked = [{"words": list(each.words), "field": each.field} for each in conditions]
        document = {"parsed": parsed.plain(), "limit": self._text_limit, "conditions": asked}
        checked = partial(_checked_marks, len(asked))
        try:
            return self._asked(protocol.MARK, document, raw, protocol.MARKS, checked)
        except ParseFailed as failure:
            _broke(failure)
            return [None] * len(asked)

    def _asked(
        self,
        operation: bytes,
        document: dict[str, Any],
        raw: bytes,
        tag: bytes,
        checked: Callable[[bytes], _Answer],
    ) -> _Answer:
        """One request and its one answer. Raises ParseFailed: for a mail that broke its worker twice (or once by time),
        else as ``interpret``."""
        said = json.dumps(document).encode("utf-8")
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                with self._worker() as worker:
                    worker.send(operation, said, raw)
                    return checked(worker.receive(tag))
            except ParseFailed as failure:
                reason = self._reason(failure)
                if reason == "timeout":
                    break
        raise _failed(reason)

    def _reason(self, failure: ParseFailed) -> str:
        """The word for a mail that broke its worker; a failure that is not the mail's is raised on."""
        if self._closed:
            raise ParseFailed("the parser pool is closed", code="parse.closed") from failure
        if failure.code in ("parse.worker", "parse.closed"):
            raise failure
        reason = failure.code.removeprefix("parse.")
        _LOG.warning("a mail broke its parser: %s", reason)
        return reason

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        """A worker for one request; it is kept if the request succeeds and killed otherwise."""
        worker = self._idle.get()
        try:
            if worker is None:
                worker = self._start()
            worker.begin(self._timeout)
            yield worker
        except BaseException:
            if worker is not None:
                self._discard(worker)
                worker = None
            raise
        finally:
            if worker is not None and self._closed:
                self._discard(worker)
                worker = None
            self._idle.put(worker)

    def _start(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise ParseFailed("the parser pool is closed", code="parse.closed")
        worker = _Worker(self._command, self._memory_bytes, self._timeout)
        with self._lock:
            self._live.add(worker)
            if self._closed:
                worker.stop()
        return worker

    def _discard(self, worker: _Worker) -> None:
        worker.kill()
        with self._lock:
            self._live.discard(worker)

    def close(self) -> None:
        """End all workers. Calls in progress raise ParseFailed (``parse.closed``). Idempotent."""
        with self._closing:
            with self._lock:
                self._closed = True
                for worker in self._live:
                    worker.stop()
            for slot in [self._idle.get() for _ in range(self.workers)]:  # waits for those in use
                if slot is not None:
                    self._discard(slot)
            for _ in range(self.workers):
                self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
