"""A file a route."""
