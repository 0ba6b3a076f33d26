"""The commands of the command line, a file a family; ``output`` is what they share."""
