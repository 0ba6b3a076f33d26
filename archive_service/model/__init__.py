"""The words of the archive: errors, mail, envelopes, findings. Imports nothing else of the project."""
