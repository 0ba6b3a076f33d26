"""How captures become messages, as data: what arrives, round by round, and what is to be known and found afterwards.

Every scenario has a domain of its own, ``NAME.example``, so that all of them may stand in one archive. ``SCENARIOS``.
"""

from dataclasses import dataclass

from archive_service.model.mail import SourceKind

EXCHANGE, M365, GOOGLE, POSTFIX, GENERIC = (
    SourceKind.EXCHANGE,
    SourceKind.M365,
    SourceKind.GOOGLE,
    SourceKind.POSTFIX,
    SourceKind.GENERIC,
)


@dataclass(frozen=True)
class Arrival:
    """One capture: over which kind of source, and its bytes. ``rcpt``: of the sub-address it came to, if any."""

    kind: SourceKind
    raw: bytes
    rcpt: str | None = None


@dataclass(frozen=True)
class Message:
    """What a message comes to: of how many captures, its recipients with their roles, by the part before the @, and
    whether some envelope was complete."""

    captures: int
    recipients: dict[str, str]
    complete: bool


@dataclass(frozen=True)
class Scenario:
    """``rounds``: what arrives before everything is followed and asked again. ``found``: after each round, how many
    messages a query finds. ``messages``: at the end, in any order."""

    name: str
    rounds: tuple[tuple[Arrival, ...], ...]
    messages: tuple[Message, ...]
    found: tuple[dict[str, int], ...]


def mail(domain: str, *lines: str, body: str = "Bonjour.", number: int | None = 1) -> bytes:
    """A mail from anne to bob. ``lines``: header fields before its own. ``number`` makes its Message-ID; None: none."""
    identity = [] if number is None else [f"Message-ID: <{number}@{domain}>"]
    head = [*lines, f"From: anne@{domain}", f"To: bob@{domain}", "Subject: devis", *identity]
    return "\r\n".join([*head, "", body, ""]).encode()


def report(domain: str, inner: bytes, *lines: str) -> bytes:
    """A journal report that names these recipients (``"To: bob"``)."""
    said = "\r\n".join(f"{line}@{domain}" for line in ("Sender: anne", *lines))
    head = (
        f"From: journal@{domain}\r\nTo: archive@{domain}\r\nSubject: devis\r\nX-MS-Journal-Report:\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
        f"--B\r\nContent-Type: text/plain\r\n\r\n{said}\r\n--B\r\nContent-Type: message/rfc822\r\n\r\n"
    )
    return head.encode() + inner + b"\r\n--B--\r\n"


def _forked(domain: str) -> Scenario:
    """A server reports each fork of a mail by itself: inside and outside of the organisation, a Bcc alone."""
    inner = mail(domain)
    arrivals = (
        Arrival(EXCHANGE, report(domain, inner, "To: bob")),
        Arrival(EXCHANGE, report(domain, inner, "Cc: carl")),
        Arrival(EXCHANGE, report(domain, inner, "Bcc: dora")),
    )
    return Scenario(
        "forked",
        (arrivals,),
        (Message(3, {"bob": "to", "carl": "cc", "dora": "bcc"}, complete=True),),
        ({f"to:bob@{domain}": 1, f"cc:carl@{domain}": 1, f"bcc:dora@{domain}": 1, f"to:dora@{domain}": 0},),
    )


def _chipped(domain: str) -> Scenario:
    """A distribution too large for one report comes in chips, whose lines know no role; one name stands in two."""
    inner = mail(domain)
    arrivals = tuple(
        Arrival(M365, report(domain, inner, *(f"Recipient: p{number}" for number in numbers)))
        for numbers in (range(3), range(2, 5))
    )
    people = {f"p{number}": "unknown" for number in range(5)}
    return Scenario(
        "chipped",
        (arrivals,),
        (Message(2, {**people, "bob": "to"}, complete=True),),
        ({f"to:p{number}@{domain}": 1 for number in range(5)} | {f"participants:p4@{domain}": 1},),
    )


def _hybrid(domain: str) -> Scenario:
    """The same mail from two systems, each with its own trace fields above it."""
    here = mail(domain, "Received: from a by b", "X-MS-Exchange-Organization-SCL: -1")
    there = mail(domain, "Received: from b by c", "X-MS-Exchange-CrossTenant-Id: 7", "ARC-Seal: i=1")
    return Scenario(
        "hybrid",
        (
            (
                Arrival(EXCHANGE, report(domain, here, "To: bob")),
                Arrival(M365, report(domain, there, "Bcc: dora")),
            ),
        ),
        (Message(2, {"bob": "to", "dora": "bcc"}, complete=True),),
        ({f"to:bob@{domain}": 1, f"bcc:dora@{domain}": 1},),
    )


def _repeated(domain: str) -> Scenario:
    """The same capture again, because its sender never heard the 250."""
    arrival = Arrival(EXCHANGE, report(domain, mail(domain), "To: bob"))
    return Scenario(
        "repeated",
        ((arrival,), (arrival, arrival)),
        (Message(3, {"bob": "to"}, complete=True),),
        ({f"to:bob@{domain}": 1}, {f"to:bob@{domain}": 1}),
    )


def _copies(domain: str) -> Scenario:
    """A copy a recipient, by the sub-address that each came to: nobody knows how many others there were."""
    arrivals = tuple(Arrival(POSTFIX, mail(domain), f"{who}@{domain}") for who in ("bob", "carl", "dora"))
    return Scenario(
        "copies",
        (arrivals,),
        (Message(3, {"bob": "to", "carl": "unknown", "dora": "unknown"}, complete=False),),
        ({f"to:carl@{domain}": 1, f"to:dora@{domain}": 1, f"to:bob@{domain}": 1},),
    )


def _google(domain: str) -> Scenario:
    """Google's copies, and a report of an Exchange that the mail passed as well."""
    copies = (
        Arrival(GOOGLE, mail(domain, f"X-Gm-Original-To: {who}@{domain}", "Received: x"))
        for who in ("bob", "dora")
    )
    reported = Arrival(EXCHANGE, report(domain, mail(domain), "To: bob", "Bcc: dora", "Bcc: emil"))
    return Scenario(
        "google",
        ((*copies, reported),),
        (Message(3, {"bob": "to", "dora": "bcc", "emil": "bcc"}, complete=True),),
        ({f"bcc:dora@{domain}": 1, f"bcc:emil@{domain}": 1, f"to:dora@{domain}": 0},),
    )


def _later(domain: str) -> Scenario:
    """A capture that comes later adds a recipient: the message is the same one, and is found under the new name too."""
    inner = mail(domain)
    return Scenario(
        "later",
        (
            (Arrival(EXCHANGE, report(domain, inner, "To: bob")),),
            (Arrival(EXCHANGE, report(domain, inner, "To: late")),),
        ),
        (Message(2, {"bob": "to", "late": "to"}, complete=True),),
        (
            {f"to:bob@{domain}": 1, f"to:late@{domain}": 0},
            {f"to:bob@{domain}": 1, f"to:late@{domain}": 1, f"to:{domain}": 1},
        ),
    )


def _role(domain: str) -> Scenario:
    """Of one address the best that is known: no role, then one; and a report's role above that of a header."""
    inner = mail(domain)
    return Scenario(
        "role",
        (
            (Arrival(M365, report(domain, inner, "Recipient: dora", "Recipient: bob")),),
            (Arrival(EXCHANGE, report(domain, inner, "Bcc: dora")),),
        ),
        (Message(2, {"dora": "bcc", "bob": "to"}, complete=True),),
        (
            {f"to:dora@{domain}": 1, f"bcc:dora@{domain}": 0},
            {f"to:dora@{domain}": 0, f"bcc:dora@{domain}": 1},
        ),
    )


def _complete(domain: str) -> Scenario:
    """Complete is what a report makes it; copies before and after change nothing of that."""
    inner = mail(domain)
    return Scenario(
        "complete",
        (
            (Arrival(POSTFIX, inner, f"carl@{domain}"), Arrival(GENERIC, inner)),
            (Arrival(EXCHANGE, report(domain, inner, "To: bob", "Bcc: carl")), Arrival(GENERIC, inner)),
        ),
        (Message(4, {"bob": "to", "carl": "bcc"}, complete=True),),
        ({f"to:carl@{domain}": 1}, {f"bcc:carl@{domain}": 1}),
    )


def _incomplete(domain: str) -> Scenario:
    """Mail as it is, without any envelope: its header's recipients, and no more is claimed."""
    return Scenario(
        "incomplete",
        ((Arrival(GENERIC, mail(domain)),),),
        (Message(1, {"bob": "to"}, complete=False),),
        ({f"to:bob@{domain}": 1},),
    )


def _reused(domain: str) -> Scenario:
    """A Message-ID alone decides nothing: other words under the same one are another message."""
    arrivals = (Arrival(GENERIC, mail(domain)), Arrival(GENERIC, mail(domain, body="Tout autre chose.")))
    return Scenario(
        "reused",
        (arrivals,),
        (Message(1, {"bob": "to"}, complete=False), Message(1, {"bob": "to"}, complete=False)),
        ({f"to:bob@{domain}": 2, f"to:bob@{domain} autre": 1},),
    )


def _unnamed(domain: str) -> Scenario:
    """Without a Message-ID all bytes count: a trace field more is another message, the very same bytes are not."""
    plain, passed = mail(domain, number=None), mail(domain, "Received: from a by b", number=None)
    return Scenario(
        "unnamed",
        ((Arrival(GENERIC, plain), Arrival(GENERIC, passed), Arrival(GENERIC, plain)),),
        (Message(2, {"bob": "to"}, complete=False), Message(1, {"bob": "to"}, complete=False)),
        ({f"to:bob@{domain}": 2},),
    )


_MADE = (
    *(_forked, _chipped, _hybrid, _repeated, _copies, _google, _later, _role, _complete),
    *(_incomplete, _reused, _unnamed),
)
SCENARIOS = [make(f"{make.__name__.strip('_')}.example") for make in _MADE]
REVERSED = [
    Scenario(
        f"{one.name}-reversed",
        (tuple(reversed(one.rounds[0])),),
        one.messages,
        one.found,
    )
    for one in (make(f"{make.__name__.strip('_')}-reversed.example") for make in _MADE)
    if len(one.rounds) == 1 and len(one.rounds[0]) > 1
]
"""The same in the other order: what is known at the end does not depend on it."""
