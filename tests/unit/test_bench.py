"""The bench's lines and what they are made of; no load is made here."""

import base64
import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import machine
from bench.figures import Figure, line, percentile
from bench.mails import Mails
from bench.mime import measure, ours, stdlib, whole_base64
from bench.processes import BenchError
from bench.sender import conversation

REQUIRED = {"name", "ours", "peer", "peer_value", "ratio", "unit", "durable", "machine"}


def test_a_figure_is_one_line_of_json_with_the_agreed_fields() -> None:
    figure = Figure(
        "intake", [900.0, 1800.04, 1000.0], "peer", [500.0, 400.0, 510.0], "msg/s", "all", {"sessions": 20}
    )
    text = line(figure, "2 cores")
    assert "\n" not in text
    value = json.loads(text)
    assert set(value) >= REQUIRED
    assert (value["ours"], value["peer_value"], value["ratio"]) == (1000.0, 500.0, 2.0), "medians"
    assert value["rounds"] == [[900.0, 1800.0, 1000.0], [500.0, 400.0, 510.0]]
    assert (value["machine"], value["sessions"]) == ("2 cores", 20)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    below = sum(value <= found for value in values)
    assert below >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.99)


@pytest.mark.parametrize("size", [4096, 20 * 1024, 40 * 1024])
def test_mails_are_of_the_exact_size_clean_and_all_different(size: int) -> None:
    mails = Mails(size).many(20)
    assert {len(mail) for mail in mails} == {size}
    assert len(set(mails)) == 20
    assert Mails(size).many(20) == mails
    for mail in mails:
        assert mail.endswith(b"\r\n")
        assert b"\r\n." not in mail, "nothing to stuff"
        assert mail.replace(b"\r\n", b"").isascii() and b"\n" not in mail.replace(b"\r\n", b"")
        assert max(map(len, mail.split(b"\r\n"))) <= 998


def test_the_machine_is_described_without_names(tmp_path: Path) -> None:
    described = machine.describe(tmp_path)
    assert f"{len(os.sched_getaffinity(0))} cores" in described
    assert os.uname().nodename not in described.translate(str.maketrans("", "", string.punctuation)).split()
    assert str(tmp_path) not in described


def test_a_conversation_sends_every_mail_and_times_every_reply() -> None:
    times: list[float] = []
    talk = conversation("a@b.example", [b"one\r\n", b"two\r\n"], times)
    assert next(talk) == b""
    sent = [talk.send(b"220 hello")]
    for reply in [b"250 go", *[b"250 ok", b"250 ok", b"354 send", b"250 archived"] * 2]:
        sent.append(talk.send(reply))
    with pytest.raises(StopIteration):
        talk.send(b"221 bye")
    assert [data for data in sent if data.endswith(b".\r\n")] == [b"one\r\n.\r\n", b"two\r\n.\r\n"]
    assert sent[-1] == b"QUIT\r\n"
    assert len(times) == 2 and min(times) >= 0


def test_a_refusal_ends_the_run() -> None:
    talk = conversation("a@b.example", [b"one\r\n"], [])
    next(talk)
    with pytest.raises(BenchError, match="451"):
        talk.send(b"451 not now")


def test_reading_is_compared_with_every_peer_on_whole_mails() -> None:
    mails = [whole_base64(raw) for raw in Mails(5000).many(8)]
    assert all(4997 <= len(raw) <= 5000 for raw in mails)
    for raw in mails:
        attachment = raw[raw.rindex(b"base64\r\n\r\n") + 10 : raw.rindex(b"\r\n--")]
        assert base64.b64decode(attachment.replace(b"\r\n", b""), validate=True)

    def refusing(raw: bytes) -> object:
        raise ValueError

    figures = measure("mime", mails, 2, {"stdlib": stdlib, "refusing": refusing})
    assert [figure.peer for figure in figures] == ["stdlib", "refusing"]
    assert [figure.extra["refused"] for figure in figures] == [[0, 0], [0, 8]]
    assert {len(figure.ours) for figure in figures} == {2}
    assert ours(mails[0])
