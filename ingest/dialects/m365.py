"""Microsoft 365 (Exchange Online): the envelope reports of Exchange, written by the same journal agent."""

from ingest.dialects.exchange import Exchange


class Microsoft365(Exchange):
    """Differs from Exchange in name only: reports fork more often (many recipients, in and out of the
    organisation), which the archive unites by message."""

    name = "m365"
