"""Reading mail, beside its peers in one run: ``python -m bench.mime [--rounds 5] [--messages 500] [--corpus DIR]``.

Ours is all that a parser worker does with a capture: ``interpret`` (structure, addresses, identity, a digest of every
part) and ``extract_text`` (the words of bodies, HTML and attachments). The peers do less: Python's ``email`` under its
default policy (compat32) parses, undoes every transfer encoding and decodes subject, sender and recipients;
fast-mail-parser (PyPI, Rust; skipped by name where it is not installed) parses and decodes likewise. Neither hashes
anything or reads HTML.

Figures are messages a second of processor time of one process with one thread (``time.process_time``): who else runs
on the machine disturbs them less, but does. Each round measures all in turn. ``refused``: mails that ours
and the peer gave up on.
"""

import argparse
import email
import os
import sys
import time
from collections.abc import Callable, Sequence
from email.header import decode_header, make_header
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

from archive_service.model.mail import CaptureRecord, SourceKind
from bench.figures import Figure, line
from bench.machine import describe
from bench.mails import Mails
from ingest.extraction import extract_text
from ingest.interpret import interpret

SIZE = 40_000
CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
_PEER = "fast-mail-parser"
_NO_MAIL = frozenset((".json", ".golden", ".msg", ".pst", ".png", ".md", ".txt"))
_NO_MAIL_NAMES = ("LICENSE", "COPYING", "_SOURCE")
_RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.org",),
)

Parse = Callable[[bytes], object]


def ours(raw: bytes) -> object:
    """As a parser worker does it."""
    return extract_text(raw, interpret(raw, SourceKind.GENERIC, _RECORD))


def stdlib(raw: bytes) -> object:
    """Python's own parser, compat32."""
    message = email.message_from_bytes(raw)
    names = [
        str(make_header(decode_header(str(message.get(name, ""))))) for name in ("subject", "from", "to")
    ]
    return names, [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]


def fast_mail_parser(module: ModuleType) -> Parse:
    """The peer of that name."""

    def parse(raw: bytes) -> object:
        mail = module.parse_email(raw)
        return (
            (mail.subject, mail.from_, mail.to),
            (mail.text_plain, mail.text_html),
            [each.content for each in mail.attachments],
        )

    return parse


def peers() -> dict[str, Parse]:
    """Name and version of each peer that is here; of one that is not, a line on standard error."""
    found: dict[str, Parse] = {f"stdlib email compat32, Python {sys.version.split()[0]}": stdlib}
    try:
        module = import_module("fast_mail_parser")
    except ImportError:
        print(f"skipped: {_PEER} is not installed", file=sys.stderr)
        return found
    found[f"{_PEER} {metadata.version(_PEER)}"] = fast_mail_parser(module)
    return found


def corpus(folder: Path) -> list[bytes]:
    """Every mail under a folder, whatever its name; none where the folder is not there."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in _NO_MAIL)
    return [path.read_bytes() for path in paths if not path.name.startswith(_NO_MAIL_NAMES)]


def whole_base64(raw: bytes) -> bytes:
    """A mail of ``Mails`` whose attachment ends with a whole group of four characters: up to three bytes shorter,
    and no parser has to cope with damage."""
    start, end = raw.rindex(b"base64\r\n\r\n") + 10, raw.rindex(b"\r\n--")
    excess = (end - start - 2 * raw.count(b"\r\n", start, end)) % 4
    return raw[: end - excess] + raw[end:]


def rate(parse: Parse, mails: Sequence[bytes]) -> tuple[float, int]:
    """Mails a second of processor time, and how many were refused. A peer may raise whatever it likes."""
    refused = 0
    began = time.process_time()
    for raw in mails:
        try:
            parse(raw)
        except Exception:  # noqa: BLE001
            refused += 1
    return len(mails) / (time.process_time() - began), refused


def measure(name: str, mails: Sequence[bytes], rounds: int, others: dict[str, Parse]) -> list[Figure]:
    """One comparison with each peer; a round before the first warms up and counts the refused."""
    everyone = {"ours": ours, **others}
    refused = {who: rate(parse, mails)[1] for who, parse in everyone.items()}
    rates: dict[str, list[float]] = {who: [] for who in everyone}
    for _ in range(rounds):
        for who, parse in everyone.items():
            rates[who].append(rate(parse, mails)[0])
    size = sum(map(len, mails))
    return [
        Figure(
            name,
            rates["ours"],
            who,
            rates[who],
            "msg/s a core",
            "nothing: read in memory",
            {
                "mails": len(mails),
                "bytes": size,
                "refused": [refused["ours"], refused[who]],
                "load": round(os.getloadavg()[0], 1),
            },
        )
        for who in others
    ]


def main() -> None:
    """Print a JSON object a comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    given = parser.parse_args()
    machine, others = describe(Path(__file__).parent), peers()
    sets = {
        f"mime, {SIZE // 1000} kB": [whole_base64(raw) for raw in Mails(SIZE).many(given.messages)],
        "mime, corpus": corpus(given.corpus),
    }
    for name, mails in sets.items():
        if not mails:
            print(f"skipped: {name}: no mail there", file=sys.stderr)
            continue
        for figure in measure(name, mails, given.rounds, others):
            print(line(figure, machine), flush=True)


if __name__ == "__main__":
    main()
