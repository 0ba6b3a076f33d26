"""Listings of other systems: each format, told from its first lines, and what is refused."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.model.errors import Invalid
from ingest.listings.base import Listing, read_listing

TRACKING = (
    "#Software: Microsoft Exchange Server\r\n#Version: 15.02.1118.007\r\n#Log-type: Message Tracking Log\r\n"
    "#Date: 2026-03-01T00:00:00.000Z\r\n"
    "#Fields: date-time,client-ip,source,event-id,internal-message-id,message-id,recipient-address,total-bytes\r\n"
    '2026-03-01T10:00:00.000Z,10.0.0.1,SMTP,RECEIVE,17,<one@ex.fr>,"anne@ex.fr;bob@ex.fr",2000\r\n'
    "2026-03-01T10:00:01.000Z,10.0.0.1,STOREDRIVER,DELIVER,17,<one@ex.fr>,bob@ex.fr,2000\r\n"
    "2026-03-01T10:00:02.000Z,10.0.0.1,SMTP,RECEIVE,18,<two@ex.fr>,bob@ex.fr,2000\r\n"
)
POSTFIX = (
    "Mar  1 10:00:00 mail postfix/smtpd[41]: 4XyZ1Bq3: client=localhost[127.0.0.1]\n"
    "Mar  1 10:00:00 mail postfix/cleanup[42]: 4XyZ1Bq3: message-id=<one@ex.fr>\n"
    "Mar  1 10:00:00 mail postfix/cleanup[42]: 4XyZ1Bq3: resent-message-id=<not@ex.fr>\n"
    "Mar  1 10:00:01 mail postfix/cleanup[42]: A1B2C3D4E5: message-id=<two@ex.fr>\n"
    "Mar  1 10:00:02 mail postfix/cleanup[42]: A1B2C3D4E6: message-id=<>\n"
    "Mar  1 10:00:03 mail postfix/qmgr[43]: A1B2C3D4E5: from=<a@ex.fr>, size=2000, nrcpt=1 (queue active)\n"
)
TRACE = (
    "origin_timestamp_utc,sender_address,recipient_status,message_subject,total_bytes,message_id\r\n"
    '2026-03-01T10:00:00Z,a@ex.fr,b@ex.fr##Receive,"Compte rendu, suite",2000,<one@ex.fr>\r\n'
    '2026-03-01T10:00:00Z,a@ex.fr,b@ex.fr##Receive,"sur deux\r\nlignes",2000,<two@ex.fr>\r\n'
)
GOOGLE = (
    "Message ID\tStart date\tSender\n<one@ex.fr>\t2026-03-01\ta@ex.fr\n<two@ex.fr>\t2026-03-01\ta@ex.fr\n"
)
LINES = "# of our own\n<one@ex.fr>\n\n  two@ex.fr \n<one@ex.fr>\n"


def read(tmp_path: Path, text: str, encoding: str = "utf-8", kind: str | None = None) -> Listing:
    path = tmp_path / "listing"
    path.write_bytes(text.encode(encoding))
    return read_listing(path, kind)


@pytest.mark.parametrize(
    ("text", "form", "repeated"),
    [
        pytest.param(TRACKING, "csv", 1, id="exchange"),
        pytest.param(POSTFIX, "postfix", 0, id="postfix"),
        pytest.param(TRACE, "csv", 0, id="m365"),
        pytest.param(GOOGLE, "csv", 0, id="google"),
        pytest.param(TRACE.replace(",", ";"), "csv", 0, id="semicolons"),
        pytest.param(LINES, "ids", 1, id="lines"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_format_is_told_and_read(
    tmp_path: Path, text: str, form: str, repeated: int, encoding: str
) -> None:
    found = read(tmp_path, text, encoding)
    assert found.ids == ("one@ex.fr", "two@ex.fr")
    assert found.format == form
    assert found.repeated >= repeated


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("", None, "listing.empty"),
        ("a line of a letter to someone\n", None, "listing.format"),
        ("sender,subject\na@b.c,x\n", "csv", "listing.format"),
        ("message-id,subject\n<one@ex.fr>,x\n", "postfix", "listing.empty"),
        ("subject,message-id\nshort\n", None, "listing.format"),
    ],
)
def test_what_is_no_listing_is_refused(tmp_path: Path, text: str, kind: str | None, code: str) -> None:
    """It must not pass for a list of nothing, with which everything agrees."""
    with pytest.raises(Invalid) as refused:
        read(tmp_path, text, kind=kind)
    assert refused.value.code == code


def test_a_listing_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        read_listing(tmp_path / "none")
    assert refused.value.code == "listing.unreadable"


IDS = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='<>"#'), min_size=1),
    min_size=1,
)


@given(IDS, st.sampled_from(",;\t"))
def test_a_table_gives_what_was_put_into_it(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], sign: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=sign)
    writer.writerow(["date", "Message-ID", "subject"])
    writer.writerows(["2026-03-01", f"<{each}>", 'a "quoted", one\nand more'] for each in ids)
    found = read(tmp_path_factory.mktemp("listing"), out.getvalue())
    assert found.ids == tuple(dict.fromkeys(ids))
    assert len(found.ids) + found.repeated == len(ids)
