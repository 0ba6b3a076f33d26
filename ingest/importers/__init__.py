"""Mailboxes that are handed over: a file a format, each giving its items byte for byte."""
