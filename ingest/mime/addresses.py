"""Bare addresses out of address fields (RFC 5322 section 3.4), however broken; linear, never raises."""

import re

from ingest.mime.headers import decode_words

# A run of plain text, an encoded word (its commas are no separators), or one special character.
_TOKEN = re.compile(r"""=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=|[^"()<>,;:\\=]+|.""", re.DOTALL)
_NOISE = re.compile(r"""[\s<>",;()]+""")
_SPACE = re.compile(r"\s+")
_AROUND_AT = re.compile(r" ?@ ?")  # once white space is single spaces
_SPACED_DOT = re.compile(r" \. ?")
_INNER_COMMENT = re.compile(r"\([^()\"]*\)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_ANGLE = re.compile(r"""(?:@[^<>:"]*:)?((?:"[^"<>]*"|[^<>",;])*)>?""")  # after the <, without its route
_LONGEST = 4096
# One mailbox as most fields have it, which needs no careful reading: with a name of plain words, or alone.
_PLAIN = re.compile(r"""(?:(?:"[\w .,'-]*" *|[\w .'-]*)<)?(\w[\w.+-]{0,200}@[\w.-]{0,200}\w)(>)?""")
_QUOTED_LOCAL = re.compile(r'"(?:[^"\\]|\\.)*"\s*@\s*[^\s@]+')


class _Reader:
    """One pass over an address list. ``found`` are addresses; a lone word waits in ``word`` until it is
    known whether it was the family name of ``Name, First <address>``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[str] = []
        self.word: str | None = None
        self.phrase: list[str] = []
        self.angle: str | None = None
        self.position = 0
        self.at_seen = False  # in the phrase, outside quotes
        self.open_quote = False
        self.open_comment = False

    def read(self) -> list[str]:
        while self.position < len(self.text):
            token = _TOKEN.match(self.text, self.position)
            if token is None:
                break
            self.position = token.end()
            self._take(token.group())
        self._finish()
        self._keep_word()
        return self.found

    def _take(self, sign: str) -> None:
        if sign == '"':
            self.phrase.append(self._quoted())
        elif sign == "(":
            self._skip_comment()
        elif sign == "<":
            self._angle_address()
        elif sign in (",", ";"):
            self._finish()
        elif sign == ":" and not self.at_seen:
            self.phrase.clear()  # the name of a group ends here
        elif sign == "\\":
            self.position += 1
        elif sign not in (")", ">"):
            self.at_seen = self.at_seen or "@" in sign
            self.phrase.append(sign)

    def _quoted(self) -> str:
        """A quoted string with its quotes; one that nothing closes stands for a space. Looked for once."""
        found = None if self.open_quote else _QUOTED.match(self.text, self.position - 1)
        if found is None:
            self.open_quote = True
            return " "
        self.position = found.end()
        return found.group()

    def _skip_comment(self) -> None:
        """Past a comment, nested or not; one that nothing closes is text. Looked for once."""
        if self.open_comment:
            return
        depth = 1
        for token in _COMMENT.finditer(self.text, self.position):
            depth += {"(": 1, ")": -1}.get(token.group(), 0)
            if depth == 0:
                self.position = token.end()
                self.phrase.append(" ")
                return
        self.open_comment = True

    def _angle_address(self) -> None:
        found = _ANGLE.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
            if self.angle is None or "@" not in self.angle:
                self.angle = found.group(1)

    def _finish(self) -> None:
        """A separator or the end: what stood before it is at most one mailbox."""
        phrase, angle = "".join(self.phrase).strip(), self.angle
        self.phrase.clear()
        self.angle, self.at_seen = None, False
        if angle is not None:
            if not phrase:
                self._keep_word()
            self.word = None
            self._add(angle)
        elif phrase:
            self._keep_word()
            self._bare(phrase)

    def _bare(self, phrase: str) -> None:
        """A mailbox without angle brackets, or words among which one looks like an address."""
        quoted = _QUOTED_LOCAL.fullmatch(phrase)
        if quoted is not None:
            self._add(phrase)
        elif "@" in phrase:
            for piece in _NOISE.split(_SPACED_DOT.sub(".", _joined(phrase))):
                if "@" in piece:
                    self._add(piece)
        elif not _SPACE.search(phrase) and '"' not in phrase and "=?" not in phrase:
            self.word = phrase

    def _keep_word(self) -> None:
        if self.word is not None:
            self._add(self.word)
            self.word = None

    def _add(self, address: str) -> None:
        address = _bare_address(address)
        if address:
            self.found.append(address)


def _joined(text: str) -> str:
    return _AROUND_AT.sub("@", _SPACE.sub(" ", text))


def _bare_address(text: str) -> str:
    """One address without ``mailto:``, space and stray quotes; "" when nothing that could be one is left."""
    address = text.strip()
    if address[:7].lower() == "mailto:":
        address = address[7:]
    if len(address) > 1 and address[0] == address[-1] and address[0] in "'\"":
        address = address[1:-1]
    address = _joined(_INNER_COMMENT.sub(" ", address))
    if not address.startswith('"'):
        address = _SPACE.sub("", address)
    address = address.strip("'\\. ")
    if "[" not in address:
        address = address.rstrip("]")
    return address if address.strip("@") and len(address) <= _LONGEST else ""


def _loose(text: str) -> list[str]:
    """Everything that has an @: the reading of a list whose quotes do not pair."""
    return [found for piece in _NOISE.split(text) if "@" in piece and (found := _bare_address(piece))]


def parse_addresses(text: str) -> list[str]:
    """The addresses of an address list, in order, as written, without display names, comments and groups.

    ``text`` is unfolded, its encoded words not yet decoded (``headers.raw_text``). A word without @ is kept
    as a local address unless it is half of an unquoted ``Name, First <address>``. Of broken input every
    piece that looks like an address is taken rather than lost.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None and ("<" in text) == (plain.group(2) is not None):
        return [plain.group(1)]
    addresses = _Reader(text).read()
    if text.count('"') % 2 and text.count("@") > sum("@" in address for address in addresses):
        addresses = list(dict.fromkeys([*addresses, *_loose(text)]))
    if not addresses and "=?" in text:
        decoded = decode_words(text)
        return parse_addresses(decoded) if "=?" not in decoded else _loose(decoded)
    return addresses
