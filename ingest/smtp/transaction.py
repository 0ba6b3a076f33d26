"""The envelope of one transaction, from MAIL to the final reply."""

from aiosmtpd.smtp import Envelope

from ingest.intake import Draft, SourceMatch
from ingest.smtp.parameters import MailArguments
from ingest.smtp.replies import Reply
from ingest.smtp.transfer import Transfer


class Transaction(Envelope):
    """aiosmtpd's envelope and what the archive adds. ``mail_from`` is None until MAIL was accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments: MailArguments | None = None
        self.match: SourceMatch | None = None
        self.transfer: Transfer | None = None
        # A 4xx that refused MAIL or a RCPT. What a sender had pipelined behind it must not be answered 503,
        # lest it take an internal fault for a final refusal.
        self.deferral: Reply | None = None

    @property
    def is_open(self) -> bool:
        """MAIL was accepted."""
        return self.arguments is not None

    @property
    def declared_size(self) -> int:
        """What MAIL said in SIZE (RFC 1870); 0 when it said nothing."""
        return (self.arguments.size or 0) if self.arguments is not None else 0

    def begin(self, arguments: MailArguments) -> None:
        """MAIL was accepted."""
        self.arguments = arguments
        self.mail_from = arguments.address
        self.mail_options = list(arguments.given)
        self.deferral = None

    def joins(self, match: SourceMatch) -> bool:
        """Whether a recipient of this source may join: one source per transaction."""
        mine = self.match
        return mine is None or (mine.tenant, mine.source.id) == (match.tenant, match.source.id)

    def add(self, address: str, match: SourceMatch) -> None:
        """RCPT was accepted. The first match stays: source and ``acts_seen`` belong together."""
        if self.match is None:
            self.match = match
        self.rcpt_tos.append(address)

    def draft(self, *, peer: str | None, helo: str | None, tls: str | None) -> Draft | None:
        """The envelope for the intake; None while MAIL or RCPT is missing."""
        if self.arguments is None or self.match is None:
            return None
        return Draft(
            tenant=self.match.tenant,
            source=self.match.source,
            acts_seen=self.match.acts_seen,
            mail_from=self.arguments.address,
            rcpt_to=tuple(self.rcpt_tos),
            peer=peer,
            helo=helo,
            tls=tls,
            mail_parameters=self.arguments.given,
        )
