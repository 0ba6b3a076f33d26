"""A message as a tantivy document, and back: what is stored of it is enough to write it anew.

``original`` holds what snippets are made of, ``rest`` everything besides.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import tantivy

from search.indexes import analysis
from search.indexes.base import IndexDocument
from search.indexes.query_parts import ADDRESS_INDEX_FIELDS
from search.query_tree import WORD_FIELDS

SNIPPET_TEXT = 100_000
"""So many characters of each text are kept for snippets; all of it is searched."""

_NAME_GAP = 1001  # positions between two file names: no NEAR reaches from one into the next
_TEXTS = ("subject", "body", "attachments")


def schema() -> tantivy.Schema:
    """The fields of the index."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("row", tokenizer_name="raw", index_option="basic")  # "version/id", for ids()
    builder.add_text_field("month", tokenizer_name="raw", index_option="basic")
    for name in ("rank", "version", "sent", "size"):
        builder.add_integer_field(name, fast=True)
    for name in ("has_attachment", "not_fully_indexed"):
        builder.add_boolean_field(name, indexed=True)
    for name in (*WORD_FIELDS, *ADDRESS_INDEX_FIELDS):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    builder.add_text_field("flag", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("filename_whole", tokenizer_name="raw", index_option="basic")
    for name in ADDRESS_INDEX_FIELDS:
        builder.add_text_field(f"{name}_key", tokenizer_name="raw", index_option="basic")
    builder.add_bytes_field("original", stored=True)
    builder.add_bytes_field("rest", stored=True)
    return builder.build()


def to_tantivy(document: IndexDocument) -> tantivy.Document:
    """The document as tantivy takes it."""
    made = tantivy.Document()
    made.add_text("id", document.id)
    made.add_text("row", f"{document.version}/{document.id}")
    made.add_text("month", document.month)
    for name in ("rank", "version", "sent", "size"):
        made.add_integer(name, getattr(document, name))
    made.add_boolean("has_attachment", bool(document.filenames or document.attachments))
    made.add_boolean("not_fully_indexed", document.not_fully_indexed)
    for flag in document.flags:
        made.add_text("flag", flag)
    made.add_text("subject", _analysed(document.subject))
    made.add_text("body", _analysed(document.body))
    made.add_text("attachment", _analysed(document.attachments))
    _add_filenames(made, document.filenames)
    senders = (document.sender,) if document.sender else ()
    everyone = (senders, document.to, document.cc, document.bcc, document.other_recipients)
    for field, addresses in zip(ADDRESS_INDEX_FIELDS, everyone, strict=True):
        _add_addresses(made, field, addresses)
    original = _original(document)
    made.add_bytes("original", original)
    made.add_bytes("rest", _rest(document, json.loads(original)))
    return made


def _analysed(text: str) -> str:
    """Words joined by spaces; tantivy's own analysis then only splits them again."""
    return " ".join(analysis.words(text))


def _add_filenames(made: tantivy.Document, filenames: Sequence[str]) -> None:
    tokens = []
    position = 0
    for filename in filenames:
        made.add_text("filename_whole", analysis.keyword(filename))
        for word in analysis.words(filename):
            tokens.append(tantivy.Token(word, position, 0, 0))
            position += 1
        position += _NAME_GAP
    made.add_pre_tokenized_text("filename", tantivy.PreTokenizedString("", tokens))


def _add_addresses(made: tantivy.Document, field: str, addresses: Sequence[str]) -> None:
    """Keys: ``a:`` the address, ``l:`` its local part, ``d:`` its domain. Words: of the local part
    and of each label of the domain, each a value of its own, so that no phrase spans two of them."""
    for address in addresses:
        local, domain = analysis.address_parts(address)
        made.add_text(f"{field}_key", f"a:{analysis.address_key(address)}")
        made.add_text(f"{field}_key", f"l:{local}")
        if domain:
            made.add_text(f"{field}_key", f"d:{domain}")
        for part in (local, *domain.split(".")):
            made.add_text(field, _analysed(part))


def _original(document: IndexDocument) -> bytes:
    texts = {
        "subject": document.subject,
        "body": document.body,
        "attachment": document.attachments,
        "filename": "\n".join(document.filenames),
    }
    kept = {name: text[:SNIPPET_TEXT] for name, text in texts.items()}
    return json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace")


def _rest(document: IndexDocument, original: Mapping[str, str]) -> bytes:
    """All fields but the texts that ``original`` holds as they are."""
    fields = asdict(document)
    for name in _TEXTS:
        if fields[name] == original[_kept_as(name)]:
            del fields[name]
    return json.dumps(fields).encode("ascii")


def of_stored(stored: tantivy.Document) -> IndexDocument:
    """The document as it was given, from what is stored of it."""
    fields = json.loads(stored["rest"][0])
    original = json.loads(stored["original"][0])
    texts = {name: fields.get(name, original[_kept_as(name)]) for name in _TEXTS}
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return IndexDocument(**{**fields, **texts, **lists})


def _kept_as(name: str) -> str:
    return "attachment" if name == "attachments" else name
