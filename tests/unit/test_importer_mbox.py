"""mbox: what a writer of each dialect wrote comes back byte for byte, wherever the blocks of the reader end."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from archive_service.model.errors import Invalid, StoreError
from ingest.importers import mbox as reader
from ingest.importers.mbox import Mbox, Variant

FROM_LINE = b"From MAILER-DAEMON Thu Nov 26 21:00:00 2026\n"

# Lines that are hard on a reader; every message ends with a line end, as a mailbox cannot say that one did not.
LINES = st.sampled_from(
    [
        b"",
        b"From here to there",
        b">From here",
        b">>From far",
        b"From ",
        b">From ",
        b"From",
        b">",
        b"Content-Length: 3",
        b" folded",
        b"a\rb",
        b"nul\x00",
        b"\xff\xfe",
        b".",
        b"x" * 100,
    ]
) | st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"."))
ENDS = st.sampled_from([b"\n", b"\r\n"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    return b"".join(line + draw(ENDS) for line in draw(st.lists(LINES, max_size=8)))


@st.composite
def mails(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Header (without an empty line behind it, nor a length) and body."""
    names = draw(st.lists(st.sampled_from([b"Subject: x", b"From: a@b", b"X-A:", b"To: c\n d"]), max_size=3))
    return b"".join(name + b"\n" for name in names), draw(bodies())


def write(variant: Variant, mails: list[tuple[bytes, bytes]]) -> tuple[bytes, list[bytes]]:
    """A mailbox, and what a reader is to give; independent of the reader, line by line."""
    out, expected = io.BytesIO(), []
    for header, body in mails:
        if variant in (Variant.MBOXCL, Variant.MBOXCL2):
            written = quoted(body, once=True) if variant is Variant.MBOXCL else body
            header += b"Content-Length: %d\n" % len(written)
        else:
            written = quoted(body, once=variant is Variant.MBOXO)
        out.write(FROM_LINE + header + b"\n" + written + b"\n")
        expected.append(header + b"\n" + body)
    return out.getvalue(), expected


def lf_lines(body: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", body)


def quoted(body: bytes, *, once: bool) -> bytes:
    pattern = rb"From " if once else rb">*From "
    return b"".join(b">" + line if re.match(pattern, line) else line for line in lf_lines(body))


def read(path: Path, variant: Variant, limit: int = 1 << 30) -> list[tuple[str, bytes]]:
    return [(item.name, item.read()) for item in Mbox(path, limit, variant).items()]


def give(tmp_path: Path, data: bytes, variant: Variant) -> list[bytes]:
    path = tmp_path / "box"
    path.write_bytes(data)
    return [raw for _, raw in read(path, variant)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mbox")


@pytest.mark.parametrize("block", [16, 64, 1 << 20])
@pytest.mark.parametrize("variant", [Variant.MBOXRD, Variant.MBOXCL2, Variant.AUTO])
@settings(max_examples=150, deadline=None)
@given(st.lists(mails(), min_size=1, max_size=4))
@example([(b"", b"")])
@example([(b"", b""), (b"", b"\n")])
@example([(b"", b"\n\nFrom x\n\n>From y\n"), (b"Subject: x\n", b"\r\n")])
def test_what_can_be_undone_comes_back_byte_for_byte(
    folder: Path, block: int, variant: Variant, mails: list[tuple[bytes, bytes]]
) -> None:
    data, expected = write(Variant.MBOXCL2 if variant is Variant.AUTO else variant, mails)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reader, "_BLOCK", block)
        assert give(folder, data, variant) == expected


@pytest.mark.parametrize("variant", [Variant.MBOXO, Variant.MBOXCL])
@settings(max_examples=150, deadline=None)
@given(st.lists(mails(), min_size=1, max_size=4))
def test_mboxo_comes_back_as_far_as_it_can(
    folder: Path, variant: Variant, mails: list[tuple[bytes, bytes]]
) -> None:
    """What was ``>From `` before cannot be told from what became so."""
    data, expected = write(variant, mails)
    given_back = give(folder, data, variant)
    assert given_back == [re.sub(rb"(?m)^>From ", b"From ", each) for each in expected]
    for before, after in zip(expected, given_back, strict=True):
        if not re.search(rb"(?m)^>From ", before):
            assert before == after


@settings(max_examples=150, deadline=None)
@given(st.lists(mails(), min_size=1, max_size=4))
def test_without_lengths_auto_is_mboxrd(folder: Path, mails: list[tuple[bytes, bytes]]) -> None:
    mails = [(header, body.replace(b"Content-Length", b"Content-Lengths")) for header, body in mails]
    data, expected = write(Variant.MBOXRD, mails)
    assert give(folder, data, Variant.AUTO) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | bodies(), st.sampled_from(list(Variant)), st.sampled_from([16, 1 << 20]))
def test_of_any_bytes_every_one_is_in_an_item_or_between_two(
    folder: Path, data: bytes, variant: Variant, block: int
) -> None:
    path = folder / "any"
    path.write_bytes(FROM_LINE + data)
    with pytest.MonkeyPatch.context() as patched, path.open("rb", buffering=0) as file:
        patched.setattr(reader, "_BLOCK", block)
        found = list(reader.messages(file, variant))
        everything = FROM_LINE + data
        place = 0
        for message in found:
            assert everything[place : message.line].strip(b"\r\n") == b""
            assert everything[message.line : message.start].startswith(b"From ")
            assert everything.find(b"\n", message.line) in (message.start - 1, -1)
            assert message.start <= message.end
            place = message.end
        assert everything[place:].strip(b"\r\n") == b""
    assert read(path, variant) != []


def test_lengths_that_do_not_fit_are_not_used(tmp_path: Path) -> None:
    one = b"Content-Length: %d\n\nbody\n"
    for length in (0, 3, 6, 7, 10**9, 10**17):
        data = FROM_LINE + one % length + b"\n" + FROM_LINE + b"Subject: b\n\nsecond\n\n"
        assert give(tmp_path, data, Variant.AUTO) == [one % length, b"Subject: b\n\nsecond\n"]
    twice = b"Content-Length: 5\nContent-Length: 5\n\nbody\n"
    assert give(tmp_path, FROM_LINE + twice + b"\n", Variant.AUTO) == [twice]


def test_a_length_whose_body_holds_a_mailbox(tmp_path: Path) -> None:
    body = b"\nFrom a\n\n>From b\n\nFrom c\n"
    one = b"Content-Length: %d\n\n" % len(body) + body
    assert give(tmp_path, FROM_LINE + one + b"\n" + FROM_LINE + b"\nx\n", Variant.AUTO) == [one, b"\nx\n"]
    assert give(tmp_path, FROM_LINE + one, Variant.AUTO) == [one], "at the very end"


def test_a_body_without_a_last_line_end(tmp_path: Path) -> None:
    one = b"Content-Length: 4\n\nbody"
    assert give(tmp_path, FROM_LINE + one + b"\n\n" + FROM_LINE + b"\nx\n\n", Variant.AUTO) == [one, b"\nx\n"]


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    one = b"Subject: a\r\n\r\nFirst\r\n>From x\rbare\r\n"
    line = FROM_LINE.replace(b"\n", b"\r\n")
    data = line + one + b"\r\n" + line + one + b"\r\n"
    assert give(tmp_path, data, Variant.AUTO) == [one.replace(b">From", b"From")] * 2


def test_names_are_files_and_offsets(tmp_path: Path) -> None:
    (tmp_path / "Archive.sbd").mkdir()
    data, _ = write(Variant.MBOXRD, [(b"", b"one\n"), (b"", b"two\n")])
    (tmp_path / "Inbox").write_bytes(b"\n" + data)
    (tmp_path / "Archive.sbd" / "2025").write_bytes(data)
    (tmp_path / "Inbox.msf").write_bytes(b"an index")
    (tmp_path / ".hidden").write_bytes(data)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "notes").write_bytes(b"no mailbox")
    items = list(Mbox(tmp_path, 1 << 20).items())
    second = len(data) // 2
    names = ["Archive.sbd/2025:0", f"Archive.sbd/2025:{second}", "Inbox:1", f"Inbox:{1 + second}", "notes"]
    assert [item.name for item in items] == names
    with pytest.raises(StoreError) as caught:
        items[-1].read()
    assert caught.value.code == "import.not_mbox"
    assert [name for name, _ in read(tmp_path / "Inbox", Variant.AUTO)] == ["Inbox:1", f"Inbox:{1 + second}"]


def test_a_message_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    data, expected = write(Variant.MBOXRD, [(b"", b"x" * 3_000_000 + b"\n"), (b"", b"small\n")])
    (tmp_path / "box").write_bytes(data)
    given_back = []
    for item in Mbox(tmp_path / "box", 1000).items():
        try:
            given_back.append(item.read())
        except StoreError as error:
            assert error.code == "import.too_large"
    assert given_back == expected[1:]


def test_what_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        Mbox(tmp_path / "none", 1000)


def test_mailboxes_that_others_wrote() -> None:
    corpus = Path(__file__).parents[3] / "shared" / "corpus" / "sisimai" / "mailbox"
    if not corpus.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    for path in sorted(corpus.iterdir()):
        lines = len(re.findall(rb"(?:\A|\n\r?\n)From ", path.read_bytes()))
        if lines:
            assert len(read(path, Variant.MBOXO)) == lines
