"""Query text to tokens. Offsets are 0-based characters of the query."""

import re
from dataclasses import dataclass
from enum import Enum

from archive_service.model.errors import QueryError
from search.indexes import analysis
from search.query_tree import ADDRESS_FIELDS, WORD_FIELDS

_CLOSING = {'"': '"', "“": "”", "«": "»"}
_SPECIAL_FIELDS = ("sent", "size", "has", "flag", "header", "custodian")
_FIELD = re.compile(r"([A-Za-z][A-Za-z-]*):")
_HEADER_NAME = re.compile(
    r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):"
)  # RFC 5322 section 2.2, less what quotes or groups
_PROXIMITY = re.compile(r"(NEAR|PRE)/([0-9]{1,4})", re.IGNORECASE)  # no one means these as words
_FOREIGN = re.compile(r"\|\|?$|!\w")  # operators elsewhere: dropped as punctuation they would mean AND
_PROXIMITY_LIKE = re.compile(r"(?:NEAR|PRE)(?:/.*)?")


class Kind(Enum):
    """What a token is."""

    OPEN = "("
    CLOSE = ")"
    AND = "AND"
    OR = "OR"
    NOT = "NOT"
    NEAR = "NEAR"
    PRE = "PRE"
    FIELD = "field"
    WORD = "word"
    PHRASE = "phrase"
    END = "end of the query"


@dataclass(frozen=True)
class Token:
    """``text``: the word, the phrase without its quotes, the field's or header's name, the distance."""

    kind: Kind
    text: str
    start: int


class _Lexer:
    def __init__(self, query: str) -> None:
        self._query = query
        self._at = 0
        self._tokens: list[Token] = []

    def run(self) -> list[Token]:
        while self._at < len(self._query):
            char = self._query[self._at]
            if char.isspace():
                self._at += 1
            elif char in "()":
                self._add(Kind(char), char, self._at + 1)
            elif char in _CLOSING:
                self._phrase()
            else:
                self._chunk()
        self._tokens.append(Token(Kind.END, "", len(self._query)))
        return self._tokens

    def _add(self, kind: Kind, text: str, end: int) -> None:
        self._tokens.append(Token(kind, text, self._at))
        self._at = end

    def _phrase(self) -> None:
        """A quoted text; ``\\"`` and ``\\\\`` stand for ``"`` and ``\\`` within straight quotes."""
        start, closing, text = self._at, _CLOSING[self._query[self._at]], ""
        at = start + 1
        while at < len(self._query) and self._query[at] != closing:
            escape = (
                closing == '"' and self._query[at] == "\\" and self._query[at + 1 : at + 2] in ('"', "\\")
            )
            at += 1 if escape and at + 1 < len(self._query) else 0
            text += self._query[at]
            at += 1
        if at >= len(self._query):
            raise QueryError("a quote is not closed", start)
        self._add(Kind.PHRASE, text, at + 1)
        after = self._query[self._at : self._at + 1]
        if after and not after.isspace() and after not in "()":
            raise QueryError("a space is missing after the closing quote", self._at)

    def _chunk_end(self, start: int) -> int:
        for at in range(start, len(self._query)):
            char = self._query[at]
            if char.isspace() or char in "()" or char in _CLOSING:
                return at
        return len(self._query)

    def _chunk(self) -> None:
        """What stands between spaces, parentheses and quotes: an operator, a field or a word."""
        end = self._chunk_end(self._at)
        chunk = self._query[self._at : end]
        if chunk in ("AND", "OR", "NOT"):
            self._add(Kind(chunk), chunk, end)
        elif _PROXIMITY_LIKE.fullmatch(chunk) or _PROXIMITY.fullmatch(chunk):
            self._proximity(chunk, end)
        elif _FOREIGN.match(chunk):
            raise QueryError("write OR or NOT; signs to search for go in quotes", self._at)
        elif chunk[0] == "-" and self._negates(chunk, end):
            self._add(Kind.NOT, "-", self._at + 1)
        elif field := _FIELD.match(chunk):
            self._field(field[1].lower(), self._at + field.end())
        elif _says_something(chunk):
            self._add(Kind.WORD, chunk, end)
        else:
            self._at = end  # punctuation or emoji alone: nothing of it is in any index

    def _negates(self, chunk: str, end: int) -> bool:
        """``-word``, ``-"a phrase"``, ``-(a group)``; not a dash between words, nor ``--option``."""
        if len(chunk) == 1:
            return end < len(self._query) and not self._query[end].isspace() and self._query[end] != ")"
        return chunk[1] != "-" and _says_something(chunk)

    def _proximity(self, chunk: str, end: int) -> None:
        found = _PROXIMITY.fullmatch(chunk)
        if not found or not 1 <= int(found[2]) <= 1000:
            raise QueryError("write NEAR/5 or PRE/5, with a distance of 1 to 1000", self._at)
        self._add(Kind(found[1].upper()), found[2], end)

    def _field(self, name: str, end: int) -> None:
        if name not in (*WORD_FIELDS, *ADDRESS_FIELDS, *_SPECIAL_FIELDS):
            raise QueryError("no such field; a text with a colon goes in quotes", self._at)
        if name == "header":
            header = _HEADER_NAME.match(self._query, end)
            if not header:
                raise QueryError("write header:Name:text", end)
            end = header.end()
            name = f"header:{header[1]}"
        self._add(Kind.FIELD, name, end)
        following = self._query[end : end + 1]
        if not following or following.isspace() or following == ")":
            raise QueryError("the field has no value", end)
        if following not in ("(", *_CLOSING):
            value_end = self._chunk_end(end)
            if following == "-" and self._negates(self._query[end:value_end], value_end):
                raise QueryError("the minus stands before the field: -field:word", end)
            self._add(Kind.WORD, self._query[end:value_end], value_end)


def _says_something(chunk: str) -> bool:
    return "*" in chunk or "?" in chunk or bool(analysis.words(chunk))


def tokenize(query: str) -> list[Token]:
    """The tokens, the last one END. Raises QueryError."""
    return _Lexer(query).run()
