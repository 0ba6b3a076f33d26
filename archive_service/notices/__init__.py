"""Notices to the custodians of a hold: ``desk`` for people, ``links`` for acknowledging, ``sending`` for the
scheduler."""
