"""Documents as Elasticsearch keeps them. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from search.indexes import analysis
from search.indexes.base import IndexDocument
from search.indexes.query_parts import ADDRESS_INDEX_FIELDS

SNIPPET_TEXT = 100_000
"""So many characters of each text are kept for snippets; all of it is searched."""


def source_of(document: IndexDocument) -> dict[str, Any]:
    """All that is indexed, as analysed words, and the original texts for snippets."""
    made = _frame(document) | {
        "has_attachment": bool(document.filenames or document.attachments),
        "not_fully_indexed": document.not_fully_indexed,
        "flag": list(document.flags),
        "subject": _analysed(document.subject),
        "body": _analysed(document.body),
        "attachment": _analysed(document.attachments),
        "filename": [_analysed(name) for name in document.filenames],
        "filename_whole": [analysis.keyword(name) for name in document.filenames],
        "original": _original(document),
    }
    senders = (document.sender,) if document.sender else ()
    everyone = (senders, document.to, document.cc, document.bcc, document.other_recipients)
    for field, addresses in zip(ADDRESS_INDEX_FIELDS, everyone, strict=True):
        made[field] = list(_address_words(addresses))
        made[f"{field}_key"] = list(_address_keys(addresses))
    return made


def stub_of(document: dict[str, Any]) -> dict[str, Any]:
    """What is left of a source that the server refuses: no words; still counted, and marked."""
    kept = ("id", "month", "rank", "version", "sent", "size", "has_attachment", "flag")
    return {name: document[name] for name in kept} | {"not_fully_indexed": True}


def _frame(document: IndexDocument) -> dict[str, Any]:
    names = ("id", "month", "rank", "version", "sent", "size")
    return {name: getattr(document, name) for name in names}


def _analysed(text: str) -> str:
    """Words joined by spaces; the server only splits them again."""
    return " ".join(analysis.words(text))


def _address_keys(addresses: Sequence[str]) -> Iterator[str]:
    """``a:`` the address, ``l:`` its local part, ``d:`` its domain."""
    for address in addresses:
        local, domain = analysis.address_parts(address)
        yield f"a:{analysis.address_key(address)}"
        yield f"l:{local}"
        if domain:
            yield f"d:{domain}"


def _address_words(addresses: Sequence[str]) -> Iterator[str]:
    """Of the local part and of each label of the domain, each a value of its own, so that no phrase spans two."""
    for address in addresses:
        local, domain = analysis.address_parts(address)
        for part in (local, *domain.split(".")):
            yield _analysed(part)


def _original(document: IndexDocument) -> dict[str, str]:
    texts = {
        "subject": document.subject,
        "body": document.body,
        "attachment": document.attachments,
        "filename": "\n".join(document.filenames),
    }
    return {
        name: text[:SNIPPET_TEXT].encode("utf-8", "replace").decode("utf-8") for name, text in texts.items()
    }
