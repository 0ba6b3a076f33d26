"""The process in which hostile mail is parsed: ``python -m ingest.parser_worker MEMORY_BYTES CPU_SECONDS``.

It reads requests from standard input and answers on standard output, one at a time, until its input ends.
It limits its own memory and time, dumps no core, starts no process, and says of an error only where it was,
never with which data. ``parser_pool`` is its other end.

Request: operation (1 byte), length of a JSON document (4), length of the raw capture (8), big-endian, then
both. Answer: one or two frames of tag (1 byte), length (4) and JSON: ``P`` a Parsed, ``T`` a Text, ``S`` what
a message says of its origin, ``M`` what it says to conditions on its text. The first frame of a worker is an
empty ``R``: it is ready. Exit status 77 means that memory ran out.
"""

import json
import math
import os
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO

from archive_service.model.evidence import DnsAnswer
from archive_service.model.mail import CaptureRecord, Parsed, SourceKind, Text
from archive_service.model.schedule import TextCondition
from ingest.extraction import LIMIT, extract_text
from ingest.interpret import interpret
from ingest.text_marks import marks_of

INTERPRET, EXTRACT, ORIGIN, MARK = b"I", b"E", b"O", b"M"
READY, PARSED, TEXT, SEEN, MARKS = b"R", b"P", b"T", b"S", b"M"
REQUEST = struct.Struct(">cIQ")
ANSWER = struct.Struct(">cI")
OUT_OF_MEMORY = 77

Interpret = Callable[[bytes, SourceKind, CaptureRecord], Parsed]
Extract = Callable[[bytes, Parsed, int], Text]


def _extract(raw: bytes, parsed: Parsed, limit: int) -> Text:
    return extract_text(raw, parsed, limit=limit)


def _limit_self(memory_bytes: int) -> None:
    """Bounds for good; the signals of a terminal or supervisor are the parent's to act upon: the parent ends
    its workers by closing their input, or by killing them, so that no mail seems to have broken one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _limit_request(cpu_seconds: float) -> None:
    """A bound on the processor time of the next request, should the parent be gone and nobody kill us."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _report_without_content(
    kind: type[BaseException], _error: BaseException, trace: TracebackType | None
) -> None:
    """Where an error came from, without its message: that may quote mail."""
    frames = traceback.extract_tb(trace)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    print(f"parser worker: {kind.__name__} at {place}", file=sys.stderr)  # noqa: T201


def _answer(output: BinaryIO, tag: bytes, document: str) -> None:
    data = document.encode("utf-8")
    output.write(ANSWER.pack(tag, len(data)) + data)
    output.flush()


def _origin(inner: bytes, document: dict[str, Any]) -> str:
    from ingest.evidence.authentication import examine  # only who looks at signatures loads what reads them

    known = {name: DnsAnswer.model_validate(answer) for name, answer in document["known"].items()}
    origin, wanted = examine(inner, document["mail_from"], known)
    return json.dumps({"origin": origin.plain(), "wanted": wanted})


def _serve_one(source: BinaryIO, output: BinaryIO, interpret: Interpret, extract: Extract) -> bool:
    """Answer one request; False when there is none any more."""
    head = source.read(REQUEST.size)
    if len(head) < REQUEST.size:
        return False
    operation, length, raw_length = REQUEST.unpack(head)
    document = json.loads(source.read(length))
    raw = source.read(raw_length)
    if len(raw) < raw_length:
        return False
    if operation == ORIGIN:
        _answer(output, SEEN, _origin(raw, document))
        return True
    if operation == INTERPRET:
        record = CaptureRecord.model_validate(document["record"])
        parsed = interpret(raw, SourceKind(document["kind"]), record)
        _answer(output, PARSED, parsed.model_dump_json())
    else:
        parsed = Parsed.model_validate(document["parsed"])
    text = extract(raw, parsed, document.get("limit", LIMIT))
    if operation == MARK:
        asked = [TextCondition(tuple(each["words"]), each["field"]) for each in document["conditions"]]
        _answer(output, MARKS, json.dumps(marks_of(raw, parsed, text, asked)))
        return True
    _answer(output, TEXT, text.model_dump_json())
    return True


def serve(interpret: Interpret = interpret, extract: Extract = _extract) -> None:
    """Limit this process and answer until standard input ends. An error ends the process; the parent sees it.

    Standard output is kept for answers alone: whatever prints goes to standard error.
    """
    sys.excepthook = _report_without_content
    memory_bytes, cpu_seconds = int(sys.argv[1]), float(sys.argv[2])
    source = os.fdopen(os.dup(0), "rb")
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_self(memory_bytes)
    _answer(output, READY, "")
    try:
        while True:
            _limit_request(cpu_seconds)
            if not _serve_one(source, output, interpret, extract):
                return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)  # the parent has gone


if __name__ == "__main__":
    serve()
