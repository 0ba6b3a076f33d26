"""The endpoint's settings, and the budget of memory that its sessions share."""

from dataclasses import dataclass
from ipaddress import ip_network

from archive_service.model.errors import Invalid

MIB = 1 << 20

COMMAND_LINE_OCTETS = 512
"""Longest command line with its CRLF, RFC 5321 section 4.5.3.1.4."""

ENVELOPE_LINE_OCTETS = 2048
"""Longest MAIL or RCPT line. RFC 5321 section 4.5.3.1.4 lets extensions lengthen it: SIZE by 26 octets, BODY
by 17, SMTPUTF8 by 10 (and longer paths), DSN by up to 500; the rest is grace for verbose journal senders."""

JUNK_OCTETS = 64 * 1024
"""A command "line" longer than this is not SMTP; the session ends."""

RETAINED_OCTETS = 8 * MIB
"""What a sink may keep in memory of one message until its commit: longer ones it must have streamed on."""


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Sizes in bytes, times in seconds. Raises ``Invalid`` for a value that cannot work.

    ``max_in_flight`` bounds the bytes that all sessions of the process hold; ``commit_timeout`` bounds
    every single step of the intake (match, begin, write, commit): a writer gives up after 60 s.
    """

    hostname: str = "localhost"
    max_size: int = 200 * MIB
    max_in_flight: int = 256 * MIB
    max_connections: int = 1000
    max_recipients: int = 1000
    max_errors: int = 20
    max_guesses: int = 3  # wrong passwords of a session
    command_timeout: float = 300.0
    data_timeout: float = 180.0
    commit_timeout: float = 60.0
    proxy_networks: tuple[str, ...] = ()  # CIDR: connections from there begin with a PROXY header
    proxy_timeout: float = 10.0  # for that header
    closing_timeout: float = 5.0  # for the peer to read the last reply and close its side

    def __post_init__(self) -> None:
        numbers = (
            self.max_size,
            self.max_in_flight,
            self.max_connections,
            self.max_recipients,
            self.max_errors,
            self.max_guesses,
            self.command_timeout,
            self.data_timeout,
            self.commit_timeout,
            self.proxy_timeout,
            self.closing_timeout,
        )
        if min(numbers) <= 0:
            raise Invalid("SMTP limits and timeouts must be greater than zero", code="smtp.settings")
        try:
            for network in self.proxy_networks:
                ip_network(network)
        except ValueError as error:
            raise Invalid("a network of PROXY senders is not CIDR", code="smtp.settings") from error
        name = self.hostname
        if not name or not name.isascii() or not name.isprintable() or " " in name:
            raise Invalid("the SMTP host name must be printable ASCII without spaces", code="smtp.settings")


class MemoryBudget:
    """Bytes of mail that the sessions of one process hold in memory.

    ``full`` keeps new transactions out. Those already in may finish, up to twice the limit: past that
    (``exhausted``) they are shed one by one with a 4xx, so memory stays bounded whatever senders do, and
    no session ever waits for another one's memory, which could deadlock.
    """

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise Invalid("a memory budget must be greater than zero", code="smtp.settings")
        self.limit = limit_bytes
        self.used = 0
        self.peak = 0

    @property
    def full(self) -> bool:
        """No new transaction may begin."""
        return self.used >= self.limit

    @property
    def exhausted(self) -> bool:
        """Transactions under way must be shed."""
        return self.used >= 2 * self.limit


class Charge:
    """One holder's part of the budget. Never raises; ``clear`` gives all of it back."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.held = 0

    def add(self, octets: int) -> None:
        """Take ``octets`` more."""
        self.held += octets
        budget = self._budget
        budget.used += octets
        if budget.used > budget.peak:
            budget.peak = budget.used

    def drop(self, octets: int) -> None:
        """Give ``octets`` back."""
        self.held -= octets
        self._budget.used -= octets

    def clear(self) -> None:
        """Give everything back."""
        self.drop(self.held)
