"""Mails of an exact size to send: a page of text and an attachment that does not compress, as in real mail.

A mail of one repeated letter, as load generators make it, shrinks to nothing where it is compressed before it is
stored, and would flatter whoever compresses.
"""

import base64
import random

_TEXT_SHARE = 0.3
_LINE = 76
_BOUNDARY = "=_bench_boundary"


def _words(chance: random.Random) -> list[str]:
    letters = "etaoinshrdlucmfwygpbvk"
    return ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(4000)]


class Mails:
    """Makes mails of ``size`` bytes with CRLF line ends; the same ``seed`` makes the same mails."""

    def __init__(self, size: int, seed: int = 1) -> None:
        """Raises ValueError for a size with no room for headers."""
        if size < 4096:
            raise ValueError("a mail of this bench has at least 4096 bytes")
        self._size = size
        self._chance = random.Random(seed)
        self._words = _words(self._chance)

    def one(self, number: int) -> bytes:
        """A mail whose Message-ID and words no other number has."""
        text = self._text(int(self._size * _TEXT_SHARE))
        head = (
            "From: Anne Example <anne@example.org>\r\n"
            "To: Bob Example <bob@example.com>\r\n"
            f"Subject: Report {number} {self._chance.choice(self._words)}\r\n"
            "Date: Mon, 06 Jan 2025 10:00:00 +0100\r\n"
            f"Message-ID: <{number}.{self._chance.getrandbits(64):x}@bench.example.org>\r\n"
            "MIME-Version: 1.0\r\n"
            f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"\r\n\r\n'
            f"--{_BOUNDARY}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}"
            f"--{_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
            'Content-Disposition: attachment; filename="data.bin"\r\n'
            "Content-Transfer-Encoding: base64\r\n\r\n"
        ).encode("ascii")
        tail = f"--{_BOUNDARY}--\r\n".encode("ascii")
        return head + self._attachment(self._size - len(head) - len(tail)) + tail

    def many(self, count: int) -> list[bytes]:
        """Mails 0 to ``count`` - 1."""
        return [self.one(number) for number in range(count)]

    def _text(self, size: int) -> str:
        lines: list[str] = []
        while size > _LINE:
            line = " ".join(self._chance.choices(self._words, k=12))[:_LINE].rstrip()
            lines.append(line + "\r\n")
            size -= len(line) + 2
        return "".join(lines)

    def _attachment(self, size: int) -> bytes:
        """Base64 lines of ``size`` bytes, line ends included; the last line takes up what is left over."""
        encoded = base64.b64encode(self._chance.randbytes(size))
        full, rest = divmod(size, _LINE + 2)
        if rest < 3:  # no room for a line of its own: the one before is longer or shorter by it
            full, rest = full - 1, rest + _LINE + 2
        lengths = [_LINE] * full + [rest - 2]
        lines, start = [], 0
        for length in lengths:
            lines.append(encoded[start : start + length] + b"\r\n")
            start += length
        return b"".join(lines)
