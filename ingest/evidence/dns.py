"""Questions to the DNS, with everything that came back: the answers are the evidence, for keys rotate.

A question is bounded in time, an answer in size. A name whose servers are dead must not look like a resolver
that is away, nor the other way round: after a silence the resolver is asked for the root, which any answers.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import Invalid, LookerAway
from archive_service.model.evidence import DnsAnswer

_PORT = 53
_PAYLOAD = 1232  # bytes by UDP (RFC 9715 section 3.2); larger answers come by TCP
_MOST_BYTES = 16 * 1024  # of an answer's text
_KNOWN_SECONDS = 60.0  # for so long an answer that a resolver has just given is not asked for again
_MOST_KNOWN = 2000


@dataclass(frozen=True)
class Server:
    """A resolver."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def servers(setting: str) -> tuple[Server, ...]:
    """The resolvers of ``ARCHIVE_EVIDENCE_DNS``: ``system``, or addresses (IP, IP:PORT, [IPv6]:PORT) by
    commas. Raises Invalid."""
    if setting.strip() == "system":
        try:
            found = dns.resolver.Resolver()
        except dns.exception.DNSException as error:
            raise Invalid("this system has no resolver", code="settings.invalid") from error
        return tuple(Server(str(each), found.port) for each in found.nameservers)
    return tuple(_server(each) for each in setting.replace(",", " ").split())


def _server(text: str) -> Server:
    host, port = text, _PORT
    if text.startswith("[") or text.count(":") == 1:
        host, _, number = text.rpartition(":")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise Invalid("a resolver is IP, IP:PORT or [IPv6]:PORT", code="settings.invalid")
        host, port = host.strip("[]"), int(number)
    if not dns.inet.is_address(host):
        raise Invalid("a resolver is given by its address", code="settings.invalid")
    return Server(host, port)


class Dns:
    """Asks resolvers. Thread-safe. ``seconds``: for one question, all resolvers together."""

    def __init__(
        self,
        asked: Sequence[Server],
        clock: Clock,
        *,
        seconds: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises Invalid without a resolver."""
        if not asked:
            raise Invalid("no resolver is named", code="settings.invalid")
        self._servers = tuple(asked)
        self._clock = clock
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, DnsAnswer]] = {}

    def txt(self, name: str) -> DnsAnswer:
        """The TXT records of a name. Raises LookerAway when no resolver answers anything."""
        key = name.rstrip(".").lower()
        with self._lock:
            at, known = self._known.get(key, (0.0, None))
        if known is not None and self._monotonic() - at < _KNOWN_SECONDS:
            return known
        answer = self._ask(name)
        if answer.rcode in ("NOERROR", "NXDOMAIN"):
            with self._lock:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[key] = self._monotonic(), answer
        return answer

    def _ask(self, name: str) -> DnsAnswer:
        def failed(rcode: str, server: Server | None = None) -> DnsAnswer:
            where = None if server is None else str(server)
            return DnsAnswer(name=name, rcode=rcode, resolver=where, at=rfc3339(self._clock()))

        try:
            question = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError, ValueError):
            return failed("BAD_NAME")
        worst = failed("TIMEOUT")
        each = self._seconds / len(self._servers)
        for server in self._servers:
            try:
                reply = self._reply(question, server, each)
            except dns.exception.Timeout:
                continue
            except OSError:
                continue
            except (dns.exception.DNSException, EOFError, ValueError):
                worst = failed("BAD_ANSWER", server)
                continue
            answer = self._answer(name, reply, server)
            if answer.rcode in ("NOERROR", "NXDOMAIN"):
                return answer
            worst = answer
        if worst.rcode in ("TIMEOUT", "BAD_ANSWER"):
            self._require_life()
        return worst

    def _require_life(self) -> None:
        """Raises LookerAway unless a resolver says anything of the root."""
        for server in self._servers:
            try:
                self._reply(dns.name.root, server, self._seconds / len(self._servers), dns.rdatatype.NS)
            except (dns.exception.DNSException, OSError, EOFError, ValueError):
                continue
            return
        raise LookerAway("no resolver answers", code="evidence.dns_away")

    @staticmethod
    def _reply(
        question: dns.name.Name,
        server: Server,
        seconds: float,
        kind: dns.rdatatype.RdataType = dns.rdatatype.TXT,
    ) -> dns.message.Message:
        """RRSIGs are asked for too (DO): whoever keeps the zone's keys can check the answer without us."""
        query = dns.message.make_query(question, kind, use_edns=0, payload=_PAYLOAD, want_dnssec=True)
        query.flags |= dns.flags.AD  # RFC 6840 section 5.7: say whether you have validated
        reply, _ = dns.query.udp_with_fallback(query, server.host, seconds, server.port, ignore_trailing=True)
        return reply

    def _answer(self, name: str, reply: dns.message.Message, server: Server) -> DnsAnswer:
        lines = [line for rrset in reply.answer for line in rrset.to_text().split("\n")]
        rcode = dns.rcode.to_text(reply.rcode())
        if sum(map(len, lines)) > _MOST_BYTES:
            lines, rcode = [], "TOO_LARGE"
        return DnsAnswer(
            name=name,
            rcode=rcode,
            records=tuple(lines),
            ttl=min((rrset.ttl for rrset in reply.answer), default=None),
            authenticated=bool(reply.flags & dns.flags.AD),
            resolver=str(server),
            at=rfc3339(self._clock()),
        )
