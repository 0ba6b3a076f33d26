"""What a retention schedule says of captures, and what people decide of their terms: wired over an archive."""
