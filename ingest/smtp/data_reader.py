"""DATA without lines: finds the end of data and undoes dot-stuffing (RFC 5321 section 4.5.2) in chunks.

Only CRLF . CRLF ends the data and only a true CRLF begins a line. A bare CR or LF is content like any
other byte, so no sender can smuggle a second message past a relay that reads line ends otherwise.
"""

_END = b"\r\n.\r\n"
_STUFFED = b"\r\n."
_LINE_END = b"\r\n"


class DataDecoder:
    """Turns the bytes after a 354 into the message. One instance a message; the chunks may be cut anywhere.

    Works at the speed of ``bytes.find``: a chunk is searched once, and copied only when it holds a dot
    at the start of a line or an end of data that may go on in the next chunk.
    """

    def __init__(self) -> None:
        # The CRLF of the DATA command itself begins the first line, so that an immediate "." CRLF ends an
        # empty message (RFC 5321 section 4.1.1.4). It is not content: ``_skip`` drops it again.
        self._held = _LINE_END
        self._skip = len(_LINE_END)

    def feed(self, chunk: bytes) -> tuple[bytes, bytes | None]:
        """The content that ``chunk`` completes, and, once the end of data is found, the bytes after it
        (perhaps none), which belong to the next command; None while the data goes on."""
        buffer = self._held + chunk if self._held else chunk
        first_dot = buffer.find(_STUFFED)
        end = buffer.find(_END, first_dot) if first_dot >= 0 else -1
        if end >= 0:
            self._held = b""
            # When the first line that starts with a dot is the end, nothing is stuffed.
            return self._content(buffer, end + len(_LINE_END), end > first_dot), buffer[end + len(_END) :]
        kept = _unfinished(buffer)
        # No stuffed dot straddles the cut: what is kept starts with its CR.
        cut = len(buffer) - kept
        self._held = buffer[cut:]
        return self._content(buffer, cut, first_dot >= 0), None

    def _content(self, buffer: bytes, end: int, stuffed: bool) -> bytes:
        content = buffer if end == len(buffer) else buffer[:end]
        if stuffed:
            content = content.replace(_STUFFED, _LINE_END)
        if self._skip and content:
            content = content[self._skip :]
            self._skip = 0
        return content


def _unfinished(buffer: bytes) -> int:
    """How many of the last bytes may be the beginning of an end of data: 0 to 4."""
    for length in range(len(_END) - 1, 0, -1):
        if buffer.endswith(_END[:length]):
            return length
    return 0
