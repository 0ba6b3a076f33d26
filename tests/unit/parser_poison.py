"""A parser worker that obeys its mail: ``HANG``, ``CRASH``, ``MEMORY`` ... as the first bytes break it that way.

``TEXT-`` before the word breaks it while it extracts text instead. ``ONCE`` breaks only the first worker that
sees the path that follows, by leaving a file there.
"""

import os
import signal
from pathlib import Path
from typing import NoReturn

from archive_service.model.mail import CaptureRecord, Parsed, SourceKind, Text
from ingest.extraction import extract_text
from ingest.interpret import interpret
from ingest.parser_worker import serve


def _obey(word: bytes, raw: bytes) -> None:
    if word == b"HANG":
        _hang()
    elif word == b"SPIN":
        os.kill(os.getpid(), signal.SIGXCPU)
    elif word == b"CRASH":
        os.abort()
    elif word == b"RAISE":
        raise ValueError("the secret words of a mail")
    elif word == b"EXIT":
        os._exit(0)
    elif word == b"MEMORY":
        hoard = []
        while True:
            hoard.append(bytearray(64 << 20))
    elif word == b"ONCE":
        mark = Path(raw.split(b"\n", 1)[0].split(b" ", 1)[1].decode())
        if not mark.exists():
            mark.touch()
            os.abort()


def _hang() -> NoReturn:
    while True:
        signal.pause()


def _interpret(raw: bytes, kind: SourceKind, record: CaptureRecord) -> Parsed:
    _obey(raw.split(b"\n", 1)[0].split(b" ", 1)[0], raw)
    parsed = interpret(raw, kind, record)
    if raw.startswith(b"LIE"):
        return parsed.model_copy(update={"inner_end": len(raw) + 1})
    return parsed


def _extract(raw: bytes, parsed: Parsed, limit: int) -> Text:
    _obey(raw.split(b"\n", 1)[0].split(b" ", 1)[0].removeprefix(b"TEXT-"), raw)
    return extract_text(raw, parsed, limit=limit)


if __name__ == "__main__":
    serve(_interpret, _extract)
