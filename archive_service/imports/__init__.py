"""Imports into an archive: resumable, each item once."""
