"""Nothing that is called by name is a link-local address or a cloud's metadata service, whatever the name says."""

import socket
import ssl
import threading
from email.message import EmailMessage
from urllib.parse import urlsplit

import pytest

from archive_service.alarms.notices import Notice, State
from archive_service.alarms.webhook import WebhookChannel
from archive_service.directory.ldap_client import LdapServer, connected
from archive_service.model.errors import Refused, StoreError
from archive_service.model.reachable import connect, looked_up
from archive_service.notices.mailing import MailServer, hand_over
from archive_service.web import HttpWeb
from ingest.importers.imap import Imap
from ingest.importers.pop3 import Pop3
from ingest.importers.server import MailboxFailed, Server, Tls

FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "100.100.100.200",
    "fe80::1%lo",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]


@pytest.fixture(params=FORBIDDEN)
def answers(request, monkeypatch):
    """Every name leads to an address of ours first, then to one that is nobody's business; nothing is connected to."""

    def found(host, port, *_, **__):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.1", request.param)
        ]

    def never(*_, **__):
        raise AssertionError("nothing is connected to")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(socket, "create_connection", never)


def mail_server():
    context = ssl.create_default_context()
    return MailServer("mail.example", 25, "none", context, None, None, 5.0)


def test_no_name_leads_to_the_metadata_of_a_cloud(answers):
    with pytest.raises(Refused, match="may not be reached"):
        looked_up("mail.example", 143)
    with pytest.raises(Refused):
        connect("mail.example", 143, 1.0)


@pytest.mark.parametrize("tls", list(Tls))
@pytest.mark.parametrize("kind", [Imap, Pop3])
def test_a_mailbox_is_not_read_from_there(answers, kind, tls):
    with pytest.raises(Refused) as refused:
        kind(Server("mail.example", 143, "anne", "secret", tls=tls), 1 << 20)
    assert refused.value.code == "network.address"


def test_no_alarm_and_no_canary_is_handed_over_there(answers):
    with pytest.raises(StoreError) as refused:
        hand_over(mail_server(), EmailMessage(), "a@ex.fr", ["b@ex.fr"], "alarm")
    assert refused.value.code == "alarm.address"


def test_no_directory_is_read_and_no_provider_asked_there(answers):
    with pytest.raises(Refused), connected(LdapServer("ldap://dc.example", "dc=ex", None, None)):
        raise AssertionError("nothing is connected to")
    with pytest.raises(Refused) as refused:
        HttpWeb().get("https://idp.example/keys")
    assert refused.value.code == "identity.address"


def test_the_next_address_of_a_name_is_tried_and_no_name_is_looked_up_twice(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = []

        def found(host, port, *_, **__):
            asked.append(host)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in ("127.0.0.2", "127.0.0.1")
            ]

        closed = socket.create_connection

        def one_closed(address, timeout):
            if address[0] == "127.0.0.2":
                raise ConnectionRefusedError
            return closed(address, timeout)

        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "create_connection", one_closed)
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *more, **named: (found if host == "a.example" else real)(host, *more, **named),
        )
        with connect("a.example", port, 5.0) as made:
            assert made.getpeername()[0] == "127.0.0.1"
    assert asked == ["a.example"]


def by_ldap(port, scheme):
    with connected(LdapServer(f"{scheme}://rebound.example:{port}")):
        raise AssertionError("nobody answers there")


def by_webhook(port):
    notice = Notice("n", "alarm", "critical", State.RAISED, "", "", "", 1, [])
    url = urlsplit(f"http://rebound.example:{port}/")
    WebhookChannel(url, secret=None, seconds=5.0, context=None).deliver(notice)


def by_mail(port):
    server = MailServer("rebound.example", port, "none", ssl.create_default_context(), None, None, 5.0)
    hand_over(server, EmailMessage(), "a@ex.fr", ["b@ex.fr"], "alarm")


def by_mailbox(port, kind, tls):
    kind(Server("rebound.example", port, "anne", "secret", tls=tls), 1 << 20)


CALLERS = {
    "ldap": lambda port: by_ldap(port, "ldap"),
    "ldaps": lambda port: by_ldap(port, "ldaps"),
    "identity provider": lambda port: HttpWeb().get(f"https://rebound.example:{port}/keys"),
    "webhook": by_webhook,
    "mail server": by_mail,
    **{
        f"{kind.__name__} {tls}": lambda port, kind=kind, tls=tls: by_mailbox(port, kind, tls)
        for kind in (Imap, Pop3)
        for tls in Tls
    },
}


@pytest.mark.parametrize("name", CALLERS)
def test_a_name_that_is_answered_otherwise_the_second_time_leads_nowhere_else(name, monkeypatch):
    """It is connected to what was looked at: the resolver is asked once, and what it would say next is never used."""
    real, asked = socket.getaddrinfo, []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        listening.settimeout(30.0)

        def resolver(host, *more, **named):
            if host not in ("rebound.example", b"rebound.example"):
                return real(host, *more, **named)
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        def hang_up():
            client, _ = listening.accept()
            reached.append(client.getsockname()[0])
            client.close()

        reached = []
        answering = threading.Thread(target=hang_up)
        answering.start()
        monkeypatch.setattr(socket, "getaddrinfo", resolver)
        with pytest.raises((StoreError, MailboxFailed)):
            CALLERS[name](port)
        answering.join()
    assert (reached, len(asked)) == (["127.0.0.1"], 1)
