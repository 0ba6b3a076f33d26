"""What is put before whoever answers for the archive once a year: rights, holds, disposals, integrity, quantities."""
