"""Lists of Message-IDs that other systems keep: what a reconciliation holds the archive against. A format, a file."""

from ingest.listings.base import Listing, read_listing

__all__ = ["Listing", "read_listing"]
