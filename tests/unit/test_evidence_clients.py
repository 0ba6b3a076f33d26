"""The clients of clamd and of resolvers, against servers that lie, stall, break off or say too much."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import dns.message
import dns.rcode
import dns.rrset
import pytest

from archive_service.catalog.base import CaptureRow
from archive_service.catalog.looks import Subject
from archive_service.model.clock import utc_now
from archive_service.model.errors import Invalid, LookerAway
from archive_service.model.mail import CaptureRecord, Finding, Parsed
from ingest.evidence.clamd import Answer, Clamd, ScanBroken
from ingest.evidence.dns import Dns, Server, servers
from ingest.evidence.malware import MalwareLooker

Talk = Callable[[socket.socket, bytes], None]


@contextmanager
def clamd_that(says: Callable[[bytes], bytes | None], *, version: bytes = b"ClamAV 9\0") -> Iterator[str]:
    """Reads a whole command and answers; None: closes without a word."""
    listener = socket.create_server(("127.0.0.1", 0))

    def stream(connection: socket.socket) -> bytes:
        data = b""
        with connection.makefile("rb") as lines:
            while length := struct.unpack(">I", lines.read(4))[0]:
                data += lines.read(length)
        return data

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError, struct.error):
            command = b""
            while not command.endswith(b"\0"):
                command += connection.recv(1)
            answer = version if command == b"zVERSION\0" else says(stream(connection))
            if answer is not None:
                connection.sendall(answer)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"stream: OK\0", Answer("OK")),
        (b"stream: Eicar-Test FOUND\0", Answer("FOUND", "Eicar-Test")),
        (b"stream: OK FOUND\0", Answer("FOUND", "OK")),
        (b"INSTREAM size limit exceeded. ERROR\0", Answer("TOO_LARGE")),
        (b"stream: Can't allocate memory ERROR\0", Answer("ERROR", "Can't allocate memory")),
        (b"stream: OK", Answer("OK")),
        (b"nonsense\0", Answer("ERROR", "nonsense")),
        (b"stream: \xff\x1b[2J FOUND\0", Answer("FOUND", "??[2J")),
        (b"x" * 10_000, Answer("ERROR", "x" * 4096)),
    ],
    ids=range(9),
)
def test_only_ok_is_clean(said: bytes, answer: Answer) -> None:
    with clamd_that(lambda _: said) as address:
        found = Clamd(address, 20.0).scan(b"mail" * 100_000)
    assert found == answer or (answer.text.startswith("xxx") and found.word == "ERROR")


def test_every_byte_is_sent() -> None:
    got: list[bytes] = []
    mail = bytes(range(256)) * 1000
    with clamd_that(lambda data: got.append(data) or b"stream: OK\0") as address:  # type: ignore[func-returns-value]
        Clamd(address, 20.0).scan(mail)
        Clamd(address, 20.0).scan(b"")
    assert got == [mail, b""]


def test_a_scan_that_breaks_off_is_neither_clean_nor_away() -> None:
    with clamd_that(lambda _: None) as address:
        with pytest.raises(ScanBroken):
            Clamd(address, 20.0).scan(b"mail")


def test_a_scan_without_end_ends() -> None:
    gate = threading.Event()
    with clamd_that(lambda _: b"stream: OK\0" if gate.wait(60) else None) as address:
        with pytest.raises(ScanBroken, match="timeout"):
            Clamd(address, 0.2).scan(b"mail")
        gate.set()


def test_nobody_there_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    for address in ("/nowhere/clamd.ctl", "127.0.0.1:1"):
        with pytest.raises(LookerAway):
            Clamd(address, 1.0).scan(b"mail")
        with pytest.raises(LookerAway):
            Clamd(address, 1.0).version()


@pytest.mark.parametrize("address", ["", "localhost", "localhost:x", "localhost:99999"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(Invalid):
        Clamd(address, 1.0)


def subject(raw: bytes = b"mail", attempt: int = 1) -> Subject:
    parsed = Parsed(parser="1", dialect="generic", inner_start=0, inner_end=len(raw), inner_digest="00")
    at = "2026-03-01T12:00:00.000000Z"
    finding = Finding(capture="c1", message="m1", source="s1", received_at=at, parsed=parsed)
    row = CaptureRow("c1", "log", 1, 1, "key", at, finding)
    record = CaptureRecord(capture="c1", source="s1", received_at=at, mail_from="", rcpt_to=())
    return Subject(row, record, raw, attempt)


def looker(address: str, most: int = 1 << 20) -> MalwareLooker:
    return MalwareLooker(Clamd(address, 20.0), utc_now, most=most, again=timedelta(hours=1))


def test_a_mail_that_takes_the_scanner_down_is_left_after_three_times() -> None:
    with clamd_that(lambda _: None) as address:
        scanner = looker(address)
        for _ in range(2):
            with pytest.raises(LookerAway):
                scanner.at(subject())
        seen = scanner.at(subject())
    assert seen.malware is not None and (seen.malware.result, seen.malware.reason) == ("failed", "broken")
    assert seen.again is not None


def test_failures_are_tried_again_and_not_for_ever() -> None:
    with clamd_that(lambda _: b"stream: no memory ERROR\0") as address:
        waits = [looker(address).at(subject(attempt=attempt)).again for attempt in range(1, 6)]
    assert all(waits[:4]) and waits[4] is None and waits[:4] == sorted(waits[:4])  # type: ignore[type-var]


def test_limits_of_the_scanner_are_not_malware_and_not_clean() -> None:
    with clamd_that(lambda _: b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0") as address:
        seen = looker(address).at(subject())
    assert seen.malware is not None and seen.malware.result == "incomplete" and seen.mark is None


def test_more_than_is_to_be_handed_over_is_not() -> None:
    with clamd_that(lambda _: b"stream: OK\0") as address:
        seen = looker(address, most=3).at(subject())
    assert seen.malware is not None
    assert (seen.malware.result, seen.malware.limit, seen.malware.size) == ("too_large", 3, 4)
    assert seen.again is None


# --- resolvers ------------------------------------------------------------------------------------------


@contextmanager
def resolver_that(says: Callable[[dns.message.Message], bytes | None]) -> Iterator[Server]:
    """Answers each question by UDP; None: not at all."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                data, peer = listener.recvfrom(4096)
                if not data:
                    return
                answer = says(dns.message.from_wire(data))
                if answer is not None:
                    listener.sendto(answer, peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host, port = listener.getsockname()
    try:
        yield Server(host, port)
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
            bell.sendto(b"", (host, port))
        thread.join(60)
        listener.close()


def _answered(query: dns.message.Message, *texts: str, rcode: int = 0) -> bytes:
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.Rcode(rcode))
    if texts:
        name = query.question[0].name
        reply.answer.append(dns.rrset.from_text_list(name, 300, "IN", "TXT", [f'"{text}"' for text in texts]))
    return reply.to_wire(max_size=65535)


def _root(query: dns.message.Message) -> bool:
    return len(query.question[0].name.labels) == 1


def test_a_name_whose_servers_are_dead_is_not_a_resolver_that_is_away() -> None:
    with resolver_that(lambda query: _answered(query) if _root(query) else None) as server:
        found = Dns([server], utc_now, seconds=0.3).txt("mort.fr")
    assert (found.rcode, found.records) == ("TIMEOUT", ())


def test_a_resolver_that_fails_is_followed_by_the_next() -> None:
    with resolver_that(lambda query: _answered(query, rcode=2)) as one:
        with resolver_that(lambda query: _answered(query, "v=DKIM1")) as two:
            found = Dns([one, two], utc_now, seconds=10).txt("ex.fr")
            only = Dns([one], utc_now, seconds=10).txt("ex.fr")
    assert (found.rcode, found.resolver, found.records) == (
        "NOERROR",
        str(two),
        ('ex.fr. 300 IN TXT "v=DKIM1"',),
    )
    assert only.rcode == "SERVFAIL"


def test_answers_that_are_none_and_answers_that_are_too_large() -> None:
    with resolver_that(lambda query: b"\x00" * 40) as server:
        with pytest.raises(LookerAway):  # the root is not answered either
            Dns([server], utc_now, seconds=0.3).txt("ex.fr")
    texts = ["x" * 250 + str(number) for number in range(100)]
    with resolver_that(lambda query: _answered(query, *texts)) as server:
        assert Dns([server], utc_now, seconds=10).txt("ex.fr").rcode == "TOO_LARGE"


def test_the_same_question_is_not_asked_twice_in_a_minute() -> None:
    asked: list[str] = []
    now = [0.0]

    def says(query: dns.message.Message) -> bytes:
        asked.append(str(query.question[0].name))
        return _answered(query, "one")

    with resolver_that(says) as server:
        resolver = Dns([server], utc_now, seconds=10, monotonic=lambda: now[0])
        first = resolver.txt("ex.fr")
        assert resolver.txt("EX.fr.") == first and len(asked) == 1
        now[0] = 61.0
        resolver.txt("ex.fr")
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["a" * 64 + ".fr", ".".join(["a" * 60] * 5), "a..b", "\\999.fr"])
def test_a_name_that_is_none_is_not_asked(name: str) -> None:
    assert Dns([Server("127.0.0.1", 1)], utc_now, seconds=1).txt(name).rcode == "BAD_NAME"


@pytest.mark.parametrize("setting", ["", "resolver.example", "127.0.0.1:x", "127.0.0.1:0", "[::1]:99999"])
def test_resolvers_are_given_by_address(setting: str) -> None:
    with pytest.raises(Invalid):
        Dns(servers(setting), utc_now)


def test_resolvers_by_address_and_port() -> None:
    found = servers("192.0.2.1, 192.0.2.2:5353 [2001:db8::1]:54 2001:db8::2")
    assert [str(each) for each in found] == [
        "192.0.2.1:53", "192.0.2.2:5353", "[2001:db8::1]:54", "[2001:db8::2]:53",
    ]  # fmt: skip
