"""Signed notes against the reference implementation's published key and note; checkpoints and all that is not one."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.ledger.note import Signer, Verifier
from archive_service.model.errors import Tampered

# golang.org/x/mod, sumdb/note: note_test.go (BSD-3-Clause).
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZ"
    "InNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

OWNER = "a1" * 10
ORIGIN = f"{OWNER}/capture-1"
SIGNER = Signer(OWNER, b"s" * 32)
OTHER = Signer("b2" * 10, b"t" * 32)
ROOT = hashlib.sha256(b"root").digest()
NOTE = SIGNER.sign(ORIGIN, 1234, ROOT).note


def check(note: str, *vkeys: str) -> object:
    return Verifier(vkeys or [SIGNER.vkey]).check(note, ORIGIN)


def test_the_published_key_and_note() -> None:
    signer = Signer("PeterNeumann", SEED)
    assert signer.vkey == VKEY
    assert signer.sign_text(TEXT) == f"{TEXT}\n{PETER}"


def test_a_published_note_is_signed_but_no_checkpoint_of_ours() -> None:
    with pytest.raises(Tampered, match="another log"):
        check(f"{TEXT}\n{PETER}", VKEY)
    with pytest.raises(Tampered, match="known key"):
        check(f"{TEXT}\n{PETER}", ENOCH)
    with pytest.raises(Tampered, match="signature is wrong"):
        check(f"{TEXT.replace('answer', 'Answer')}\n{PETER}", VKEY)


def test_every_mangled_verifier_key_is_refused() -> None:
    """The manglings of the reference implementation's own test."""
    for start in range(len(VKEY)):
        for end in range(start + 1, len(VKEY) + 1):
            if (start, end) != (0, len(VKEY)):
                with pytest.raises(Tampered):
                    Verifier([VKEY[start:end]])
    for place, letter in enumerate(VKEY):
        with pytest.raises(Tampered):
            Verifier([VKEY[:place] + chr(ord(letter) + 1) + VKEY[place + 1 :]])
    for wrong in (
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ):
        with pytest.raises(Tampered):
            Verifier([wrong])


def test_a_checkpoint_by_its_parts() -> None:
    text, _, signatures = NOTE.partition("\n\n")
    assert text == f"{ORIGIN}\n1234\n{base64.b64encode(ROOT).decode()}"
    dash, name, encoded = signatures.removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", OWNER)
    assert (
        base64.b64decode(encoded)[:4]
        == hashlib.sha256(OWNER.encode() + b"\n\x01" + SIGNER.public).digest()[:4]
    )
    point = Verifier([OTHER.vkey, SIGNER.vkey]).check(NOTE, ORIGIN)
    assert (point.origin, point.size, point.root, point.note) == (ORIGIN, 1234, ROOT, NOTE)


def test_further_signatures_are_welcome() -> None:
    cosigned = NOTE + OTHER.sign(ORIGIN, 1234, ROOT).note.partition("\n\n")[2]
    assert Verifier([SIGNER.vkey]).check(cosigned, ORIGIN).size == 1234
    assert Verifier([OTHER.vkey]).check(cosigned, ORIGIN).size == 1234


def signed(text: str) -> str:
    """Even a note that our key signed must be a checkpoint."""
    return SIGNER.sign_text(text)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        NOTE.partition("\n\n")[0],
        NOTE.removesuffix("\n"),
        NOTE + "a line too many\n",
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\n1234\n", "\n1235\n"),
        NOTE.replace("\u2014 ", "\u2014  "),
        signed(f"{ORIGIN}\n12x\n{base64.b64encode(ROOT).decode()}\n"),
        signed(f"{ORIGIN}\n0012\n{base64.b64encode(ROOT).decode()}\n"),
        signed(f"{ORIGIN}\n\u0663\n{base64.b64encode(ROOT).decode()}\n"),
        signed(f"{ORIGIN}\n-1\n{base64.b64encode(ROOT).decode()}\n"),
        signed(f"{ORIGIN}\n12\n{base64.b64encode(ROOT[:31]).decode()}\n"),
        signed(f"{ORIGIN}\n12\nno base64\n"),
        signed(f"{ORIGIN}\n12\n"),
        signed(f"{ORIGIN}\n12\n{base64.b64encode(ROOT).decode()}\nextension\n"),
        signed(f"{ORIGIN}x\n12\n{base64.b64encode(ROOT).decode()}\n"),
        OTHER.sign(ORIGIN, 1234, ROOT).note,
        Signer(OWNER, b"u" * 32).sign(ORIGIN, 1234, ROOT).note,
        Signer("c3" * 10, b"s" * 32).sign(ORIGIN, 1234, ROOT).note,
    ],
    ids=lambda note: repr(note[-30:]),
)
def test_what_is_no_checkpoint_of_this_log_by_this_key_is_refused(note: str) -> None:
    with pytest.raises(Tampered):
        check(note)


@given(st.integers(0, len(NOTE) - 1), st.characters(max_codepoint=255, exclude_categories=["Cs"]))
@settings(max_examples=150, deadline=None)
def test_any_changed_character_is_seen(place: int, letter: str) -> None:
    changed = NOTE[:place] + letter + NOTE[place + 1 :]
    if changed != NOTE:
        with pytest.raises(Tampered):
            check(changed)


def test_base64_that_says_the_same_in_another_way_is_refused() -> None:
    """68 bytes leave two bits free in the last letter (RFC 4648 section 3.5)."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = letters.index(NOTE[-3])
    assert NOTE.endswith("=\n")
    for free in range(1, 4):
        with pytest.raises(Tampered, match="malformed"):
            check(NOTE[:-3] + letters[last | free] + "=\n")


@pytest.mark.parametrize("text", ["no newline", "an empty\n\nline\n", ""])
def test_only_one_paragraph_is_signed(text: str) -> None:
    with pytest.raises(ValueError, match="note"):
        SIGNER.sign_text(text)
