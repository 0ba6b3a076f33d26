"""Why a capture must be erased, or must be kept: the words of acts, and their order (design: precedence)."""

from enum import StrEnum


class EraseGround(StrEnum):
    """Why a capture is to be forgotten."""

    ORDER = "order"  # of a court or authority (GDPR article 58(2)(g); Code of Civil Procedure)
    EXCLUSION = "exclusion"  # never to have been archived: a source's exclusion list, a resealing
    REQUEST = "request"  # of a data subject (GDPR article 17)
    MAXIMUM = "maximum"  # the end of its retention term (GDPR article 5(1)(e))


class KeepGround(StrEnum):
    """Why a capture is to be kept."""

    ORDER = "order"  # of a court or authority
    HOLD = "hold"  # legal hold: litigation or investigation expected (GDPR article 17(3)(e))
    MINIMUM = "minimum"  # a statutory term (GDPR article 17(3)(b)), until a date
