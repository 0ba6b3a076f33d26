"""What breaks a parser is archived all the same: hang, crash, memory, lies; and the pool goes on."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.errors import Invalid, ParseFailed
from archive_service.model.mail import CaptureRecord, SourceKind
from ingest.extraction import extract_text
from ingest.identity import whole_digest
from ingest.interpret import interpret
from ingest.parser_pool import ParserPool

POISON = (sys.executable, "-P", str(Path(__file__).with_name("parser_poison.py")))
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("é@example.fr",),
)
GOOD = "From: a@example.fr\nSubject: été\nMessage-ID: <1>\n\nBonjour".encode()
PATIENCE = 60.0  # no test waits this long unless it fails
MEMORY = 1 << 30


@pytest.fixture(scope="module")
def poisoned() -> Iterator[ParserPool]:
    with ParserPool(timeout=PATIENCE, memory_bytes=MEMORY, command=POISON) as pool:
        yield pool


def works(pool: ParserPool) -> bool:
    parsed = interpret(GOOD, SourceKind.GENERIC, RECORD)
    wanted = (parsed, extract_text(GOOD, parsed))
    return pool.interpret(GOOD, SourceKind.GENERIC, RECORD) == wanted


def test_a_pool_answers_as_the_parser_does() -> None:
    with ParserPool() as pool:
        for sample in sorted((Path(__file__).parents[1] / "samples").glob("*.eml")):
            raw = sample.read_bytes()
            parsed, text = pool.interpret(raw, SourceKind.EXCHANGE, RECORD)
            assert parsed == interpret(raw, SourceKind.EXCHANGE, RECORD)
            assert text == extract_text(raw, parsed) == pool.extract(raw, parsed)


def test_a_large_mail_passes_through_the_pipes() -> None:
    raw = b"Subject: x\n\n" + b"0123456789abcde\n" * (1 << 19)
    with ParserPool(text_limit=100) as pool:
        parsed, text = pool.interpret(raw, SourceKind.GENERIC, RECORD)
    assert parsed.parts[0].size == 8 << 20
    assert text.not_fully_indexed == "text truncated at 100 characters"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (b"CRASH", "crash"),
        (b"RAISE", "crash"),
        (b"EXIT", "crash"),
        (b"LIE", "crash"),
        (b"MEMORY", "memory"),
        (b"SPIN", "timeout"),
    ],
)
def test_what_breaks_the_parser_is_kept_whole(
    poisoned: ParserPool, word: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = word + b"\nReceived: z\nMessage-ID: <1>\n\ny\n"
    monkeypatch.setattr("ingest.interpret.identity_digest", None)  # outside a worker nothing reads a header
    parsed, text = poisoned.interpret(raw, SourceKind.M365, RECORD)
    monkeypatch.undo()
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert (parsed.flags, parsed.dialect) == (("partly_parsed",), "m365")
    assert parsed.inner_digest == whole_digest(raw, 0, len(raw))
    assert text.not_fully_indexed == f"parser: {reason}"
    assert works(poisoned)


@pytest.mark.parametrize(("word", "reason"), [(b"TEXT-CRASH", "crash"), (b"TEXT-MEMORY", "memory")])
def test_what_breaks_extraction_keeps_what_was_parsed(poisoned: ParserPool, word: bytes, reason: str) -> None:
    raw = word + b" \nFrom: a@example.fr\nSubject: x\n\ny"
    parsed, text = poisoned.interpret(raw, SourceKind.GENERIC, RECORD)
    assert parsed == interpret(raw, SourceKind.GENERIC, RECORD)
    assert parsed.subject == "x"
    assert text.not_fully_indexed == f"parser: {reason}"
    assert poisoned.extract(raw, parsed) == text
    assert works(poisoned)


def test_a_hang_ends_with_its_time() -> None:
    with ParserPool(timeout=PATIENCE, command=POISON) as pool:
        assert works(pool)  # a worker has started, so that the little time is the mail's own
        pool._timeout = 0.2
        _, text = pool.interpret(b"HANG\n\nx", SourceKind.GENERIC, RECORD)
        assert text.not_fully_indexed == "parser: timeout"
        _, text = pool.interpret(b"TEXT-HANG\nSubject: x\n\nx", SourceKind.GENERIC, RECORD)
        assert text.not_fully_indexed == "parser: timeout"
        pool._timeout = PATIENCE
        assert works(pool)


def test_an_accident_that_does_not_repeat_is_not_the_mails(poisoned: ParserPool, tmp_path: Path) -> None:
    """A worker may be killed for reasons of the machine; the mail gets another."""
    raw = b"ONCE " + str(tmp_path / "mark").encode() + b"\nSubject: x\n\ny"
    assert poisoned.interpret(raw, SourceKind.GENERIC, RECORD)[0] == interpret(
        raw, SourceKind.GENERIC, RECORD
    )


def test_an_error_says_where_but_not_what(capfd: pytest.CaptureFixture[str]) -> None:
    with ParserPool(timeout=PATIENCE, command=POISON) as pool:
        pool.interpret(b"RAISE\n\nx", SourceKind.GENERIC, RECORD)
    said = capfd.readouterr().err
    assert "ValueError" in said
    assert "parser_poison.py:" in said
    assert "secret" not in said


def test_threads_share_the_workers() -> None:
    with ParserPool(2, timeout=PATIENCE, memory_bytes=MEMORY, command=POISON) as pool:
        mails = [GOOD, b"CRASH\n\nx", GOOD + b"!", b"RAISE\n\nx"] * 4
        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(lambda raw: pool.interpret(raw, SourceKind.GENERIC, RECORD), mails))
        assert len(pool._live) <= 2
    for raw, (parsed, text) in zip(mails, found, strict=True):
        if raw.startswith(GOOD):
            assert parsed == interpret(raw, SourceKind.GENERIC, RECORD)
        else:
            assert text.not_fully_indexed == "parser: crash"


def test_workers_see_no_settings_and_stay_in_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVE_SECRET", "x")
    with ParserPool(timeout=PATIENCE) as pool:
        assert works(pool)
        (worker,) = pool._live
        pid = worker._process.pid
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"ARCHIVE_SECRET" not in environment
        assert os.getpgid(pid) == os.getpgid(0)
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[4] for line in limits.splitlines() if line.startswith("Max core")] == ["0"]
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_ends_with_its_input() -> None:
    pool = ParserPool(timeout=PATIENCE)
    assert works(pool)
    (worker,) = pool._live
    assert worker._process.stdin is not None
    worker._process.stdin.close()
    assert worker._process.wait(PATIENCE) == 0
    pool.close()


def test_closing_ends_a_call_in_progress_and_blames_no_mail() -> None:
    pool = ParserPool(timeout=PATIENCE, command=POISON)
    assert works(pool)
    started = threading.Event()
    send = next(iter(pool._live)).send

    def sending(operation: bytes, document: bytes, raw: bytes) -> None:
        send(operation, document, raw)
        started.set()

    next(iter(pool._live)).send = sending  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.interpret, b"HANG\n\nx", SourceKind.GENERIC, RECORD)
        assert started.wait(PATIENCE)
        pool.close()
        with pytest.raises(ParseFailed) as caught:
            call.result()
    assert caught.value.code == "parse.closed"
    pool.close()
    with pytest.raises(ParseFailed):
        pool.interpret(GOOD, SourceKind.GENERIC, RECORD)


def test_a_worker_that_does_not_start_blames_no_mail() -> None:
    with ParserPool(command=(sys.executable, "-c", "")) as pool:
        for _ in range(2):
            with pytest.raises(ParseFailed) as caught:
                pool.interpret(GOOD, SourceKind.GENERIC, RECORD)
            assert caught.value.code == "parse.worker"


def test_senseless_settings_are_refused() -> None:
    settings: dict[str, Any]
    for settings in ({"workers": 0}, {"timeout": 0.0}, {"memory_bytes": 0}, {"text_limit": -1}):
        with pytest.raises(Invalid):
            ParserPool(**settings)
