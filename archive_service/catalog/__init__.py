"""The catalog: rows projected from the logs, safe to delete and rebuild. ``base`` has the protocol."""
