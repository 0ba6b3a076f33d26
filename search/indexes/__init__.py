"""Search indexes: ``base`` has the protocol, then a file a back end."""
