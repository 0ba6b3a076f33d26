"""Object store and key place: ``base`` has the protocols, then a file a back end."""
