"""The endpoint's own bounds; sizes, memory and the intake's time limit are ``SmtpSettings``'."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MilterLimits:
    """Bytes and seconds.

    ``packet``: the longest packet that is read; a longer one is passed over, and its mail is told to come again.
    Postfix sends body in 64 KiB and header fields up to its ``header_size_limit`` (100 KiB unless set otherwise).
    ``step``: the same for what is no content; a longer one ends the connection.
    ``junk``: a packet that claims more is no milter packet; the connection ends. ``envelope``: recipients of one
    mail. ``idle``: between two packets outside of content: an SMTP client may think for ``smtpd_timeout`` (300 s)
    between its commands and between its lines, and Postfix says nothing meanwhile. ``judge``: for the source check;
    Postfix waits ``milter_command_timeout`` (30 s).
    """

    packet: int = 1 << 20
    step: int = 1 << 16
    junk: int = 1 << 28
    envelope: int = 4 << 20
    idle: float = 3600.0
    judge: float = 20.0
