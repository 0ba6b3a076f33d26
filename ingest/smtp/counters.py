"""What the endpoint counted; plain numbers that a metrics route may read at any time."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class SmtpCounters:
    """``rejected`` counts 4xx and 5xx replies by the stable reason words of ``replies``."""

    connections: int = 0  # ever accepted by the listener, refused ones included
    open: int = 0  # sessions now
    tls: int = 0  # sessions that completed STARTTLS
    accepted: int = 0  # messages archived
    accepted_bytes: int = 0
    abandoned: int = 0  # the sender went away or sent RSET inside a message
    rejected: Counter[str] = field(default_factory=Counter)
