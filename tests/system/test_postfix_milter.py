"""A real Postfix holds mail back until the archive has it, set up as the administrator's page says."""

import os
import re
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.services.holding_proxy import HoldingProxy
from tests.services.postfix import Postfix, path_of, postfix
from tests.services.tools import free_port
from tests.system.test_postfix_copies import PAGE, RECIPIENTS, mail, message, recipients, until
from tests.system.test_service import Running, command, make, start

MIB = 1 << 20
REFUSE = "smtpd_recipient_restrictions = check_recipient_access inline:{ {wrong@example.fr=REJECT} }, permit"


def settings_of_the_page(source: str, milter: str) -> list[str]:
    """The lines of main.cf that the page says, with this archive's address and port."""
    section = PAGE.partition("## By milter")[2].partition("\n## ")[0]
    said = re.findall(r"^ +postconf -e '([^']+)'$", section, re.MULTILINE)
    assert len(said) == 3, said
    return [
        line.replace("SECRET@archive.example.fr", source).replace("milter.archive.example.fr:2526", milter)
        for line in said
    ]


@dataclass
class Site:
    """A running archive and a Postfix in front of it."""

    archive: Running
    server: Postfix

    def smtp(self) -> smtplib.SMTP:
        smtp = smtplib.SMTP("127.0.0.1", self.server.port, timeout=120)
        smtp.ehlo("client.example.fr")
        return smtp

    def raw(self, word: str) -> bytes:
        status, raw = self.archive.http("GET", f"/v1/messages/{message(self.archive, word)['id']}/raw")
        assert status == 200
        return raw


def sendmail(server: Postfix, mail: bytes, *to: str) -> None:
    """Hand a mail to Postfix' own command, as cron does."""
    given = [path_of("sendmail"), "-C", str(server.folder / "etc"), "-f", "anne@example.fr", *to]
    done = subprocess.run(given, input=mail, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@dataclass
class Held(Running):
    """An archive that is asked often: one token a role is enough."""

    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, role: str) -> str:
        if role not in self.tokens:
            self.tokens[role] = super().token(role)
        return self.tokens[role]


def begin(data: Path, source: dict, milter: str = "127.0.0.1:0") -> Held:
    running = start(data, source, "--milter", milter)
    return Held(running.data, running.source, running.where, running.process)


@contextmanager
def in_front_of(archive: Running, *more: str) -> Iterator[Site]:
    lines = settings_of_the_page(str(archive.source["address"]), archive.where["milter"])
    with postfix(archive.where["smtp"], "copies.test", *lines, *more) as server:
        yield Site(archive, server)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("milter") / "archive"
    running = begin(data, make(data, "postfix"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def site(archive: Running) -> Iterator[Site]:
    with in_front_of(archive, REFUSE, f"message_size_limit = {100 * MIB}") as made:
        yield made


def captures(archive: Running, word: str) -> int:
    return len(message(archive, word)["captures"])


def test_every_recipient_is_known_and_who_postfix_rejects_is_not(site: Site) -> None:
    with site.smtp() as smtp:
        smtp.mail("anne@example.fr", ["BODY=8BITMIME"])
        for address in RECIPIENTS:
            assert smtp.rcpt(address)[0] == 250
        assert smtp.rcpt("wrong@example.fr")[0] == 554
        assert smtp.data(mail("milter1"))[0] == 250
    found = message(site.archive, "milter1")
    assert found["envelope_complete"]
    assert recipients(found) == {
        ("bob@example.fr", "to", True),
        ("carl@example.com", "cc", True),
        ("hidden+x@example.fr", "bcc", True),
        ("a=b@example.fr", "bcc", True),
    }
    assert site.raw("milter1") == mail("milter1")


def test_what_is_reset_or_cut_off_leaves_nothing_and_two_mails_come_in_one_connection(site: Site) -> None:
    with site.smtp() as smtp:
        smtp.mail("anne@example.fr")
        smtp.rcpt("bob@example.fr")
        smtp.rset()
        for word in ("milter2", "milter3"):
            smtp.mail("<>")
            smtp.rcpt("bob@example.fr")
            assert smtp.data(mail(word))[0] == 250
    cut = site.smtp()
    cut.mail("anne@example.fr")
    cut.rcpt("bob@example.fr")
    assert cut.docmd("DATA")[0] == 354
    cut.send(mail("cutoff"))
    cut.close()
    assert [captures(site.archive, word) for word in ("milter2", "milter3")] == [1, 1]
    with site.smtp() as smtp:
        smtp.sendmail("anne@example.fr", ["bob@example.fr"], mail("milter4"))
    assert site.archive.found("subject:milter4")["total"] == 1
    assert site.archive.found("subject:cutoff", 0)["total"] == 0


def test_odd_mail_comes_through_and_what_postfix_changes_is_as_the_page_says(site: Site) -> None:
    body = b"nul \0 here\r\n..dot\r\n" + b"z" * 5000 + b"\r\nlast line"
    head = (
        mail("milter5").partition(b"\r\n\r\n")[0]
        + b"\r\nX-Eight: \xe9\xff\r\nX-Tab:\tt \r\nX-None:n\r\nX-Fold: a,\r\n\tb"
    )
    with site.smtp() as smtp:
        smtp.mail("anne@example.fr", ["BODY=8BITMIME"])
        smtp.rcpt("bob@example.fr")
        assert smtp.docmd("DATA")[0] == 354
        smtp.send(head + b"\r\nX-Nul: a\0b\r\n\r\n" + body + b"\r\n.\r\n")
        assert smtp.getreply()[0] == 250
    assert site.raw("milter5") == head + b"\r\nX-Nul: a\r\n\r\n" + body.replace(b"\r\n..", b"\r\n.") + b"\r\n"


def test_chunks_come_through(site: Site) -> None:
    """BDAT (RFC 3030) in three pieces, the last one empty."""
    sent = mail("milter10")
    with site.smtp() as smtp:
        smtp.mail("anne@example.fr")
        smtp.rcpt("bob@example.fr")
        for piece, last in ((sent[:50], b""), (sent[50:], b""), (b"", b" LAST")):
            smtp.send(b"BDAT %d%s\r\n%s" % (len(piece), last, piece))
            assert smtp.getreply()[0] == 250
    assert site.raw("milter10") == sent


def test_addresses_beyond_ascii(site: Site) -> None:
    with site.smtp() as smtp:
        smtp.mail("béa@example.fr", ["SMTPUTF8"])
        smtp.rcpt("jürgen@example.fr")
        assert smtp.data(mail("milter6"))[0] == 250
    named = recipients(message(site.archive, "milter6"))
    assert ("jürgen@example.fr", "bcc", True) in named


def most_memory(running: Running) -> int:
    """Bytes that the SMTP processes have held at most, all together."""
    parent = str(running.process.pid)
    found = subprocess.run(
        ["pgrep", "-P", parent, "-f", "serving smtp"], capture_output=True, text=True, check=True
    )
    peaks = [
        re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        for pid in found.stdout.split()
    ]
    assert len(peaks) == 2
    return sum(int(peak.group(1)) * 1024 for peak in peaks if peak is not None)


def test_fifty_mebibytes_in_flat_memory_and_an_empty_body(site: Site) -> None:
    large = mail("milter7") + (b"x" * 76 + b"\r\n") * (50 * MIB // 78)
    before = most_memory(site.archive)
    with site.smtp() as smtp:
        smtp.mail("anne@example.fr")
        smtp.rcpt("bob@example.fr")
        assert smtp.data(large)[0] == 250
        smtp.mail("anne@example.fr")
        smtp.rcpt("bob@example.fr")
        assert smtp.data(mail("milter8").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")[0] == 250
    assert most_memory(site.archive) - before < 25 * MIB
    assert site.raw("milter7") == large
    assert site.raw("milter8") == mail("milter8").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def test_the_sendmail_command_s_mail_is_held_back_too(site: Site) -> None:
    sendmail(site.server, mail("milter9"), "bob@example.fr", "hidden@example.fr")
    until(lambda: site.archive.found("subject:milter9", 0)["total"] == 1, site.server)
    assert ("hidden@example.fr", "bcc", True) in recipients(message(site.archive, "milter9"))


def test_with_always_bcc_beside_it_the_message_stays_one(archive: Running) -> None:
    copies = f"always_bcc = {archive.source['address']}"
    domain = str(archive.source["address"]).rpartition("@")[2]
    lines = settings_of_the_page(str(archive.source["address"]), archive.where["milter"])
    with postfix(archive.where["smtp"], domain, *lines, copies) as server:
        server.send("anne@example.fr", RECIPIENTS, mail("both"))
        until(lambda: server.waiting() == 0, server)
        until(lambda: captures(archive, "both") == 2, server)
        assert message(archive, "both")["envelope_complete"]


def test_an_unknown_source_keeps_mail_with_its_sender(archive: Running) -> None:
    lines = settings_of_the_page("nobody@archive.localhost", archive.where["milter"])
    with postfix(archive.where["smtp"], "copies.test", *lines) as server:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            server.send("anne@example.fr", ["bob@example.fr"], mail("unknown"))
        assert refused.value.smtp_code == 451
        assert b"source not known" in refused.value.smtp_error
        assert server.waiting() == 0


def answer_to(server: Postfix, word: str) -> int:
    """What a sender hears, at whatever step it ends."""
    with smtplib.SMTP("127.0.0.1", server.port, timeout=120) as smtp:
        smtp.ehlo("client.example.fr")
        for step in (lambda: smtp.mail("anne@example.fr"), lambda: smtp.rcpt("bob@example.fr")):
            code, _ = step()
            if code != 250:
                return code
        return smtp.data(mail(word))[0]


def test_while_the_archive_is_away_senders_keep_their_mail_and_it_is_archived_once_it_is_back(
    tmp_path: Path,
) -> None:
    data, port = tmp_path / "archive", free_port()
    source = make(data, "postfix")
    where = f"127.0.0.1:{port}"
    with postfix("127.0.0.1:9", "copies.test", *settings_of_the_page(source["address"], where)) as server:
        assert answer_to(server, "away1") == 451
        sendmail(server, mail("away2"), "bob@example.fr")
        until(lambda: "can't read" in server.log() or "connect to Milter" in server.log(), server)
        running = begin(data, source, where)
        try:
            assert "status=sent" not in server.log()
            assert waits_in_maildrop(server)
            assert answer_to(server, "away1") == 250
            assert captures(running, "away1") == 1
            until(lambda: running.found("subject:away2", 0)["total"] == 1, server)
        finally:
            assert running.stop() == 0
    assert command("verify", "--data", data)["checked"]["objects"] >= 2


def waits_in_maildrop(server: Postfix) -> bool:
    return any((server.folder / "queue" / "maildrop").iterdir())


def test_an_archive_that_dies_between_its_entry_and_its_answer_has_the_mail_and_it_stays_one_message(
    tmp_path: Path,
) -> None:
    """The answer is held back until the service is dead: ``kill -9`` of all its processes. The sender hears 451 and
    comes again."""
    data, port = tmp_path / "archive", free_port()
    source = make(data, "postfix")
    running = begin(data, source, f"127.0.0.1:{port}")
    proxy = HoldingProxy(port)
    lines = settings_of_the_page(source["address"], f"127.0.0.1:{proxy.port}")
    with postfix("127.0.0.1:9", "copies.test", *lines) as server:
        proxy.hold(b"\0\0\0\x01c", b"E")
        sender = subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", _SEND, str(server.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert sender.stdin is not None
        sender.stdin.write(mail("dies"))
        sender.stdin.close()
        assert proxy.held.wait(60), server.log()
        kill_all(running)
        proxy.let_go()
        assert sender.stdout is not None
        assert sender.stdout.read().strip() == b"451"
        assert sender.wait(60) == 0
        sender.stdout.close()
        again = begin(data, source, f"127.0.0.1:{port}")
        try:
            assert captures(again, "dies") == 1
            assert answer_to(server, "dies") == 250
            until(lambda: captures(again, "dies") == 2, server)
        finally:
            assert again.stop() == 0
            proxy.close()
    assert command("verify", "--data", data)["checked"]["objects"] >= 2


_SEND = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=120) as smtp:
    smtp.ehlo("client.example.fr")
    smtp.mail("anne@example.fr")
    smtp.rcpt("bob@example.fr")
    print(smtp.data(sys.stdin.buffer.read())[0])
"""


def kill_all(running: Running) -> None:
    """The parent and every process of it, at once."""
    parent = running.process.pid
    children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    for pid in [parent, *map(int, children.stdout.split())]:
        os.kill(pid, signal.SIGKILL)
    running.process.wait()
