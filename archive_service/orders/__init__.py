"""Orders of a court or authority, to keep or to erase: asked for and ended by two people, seen, documented, certified.
What they do is said by acts (``ledger.orders``)."""
