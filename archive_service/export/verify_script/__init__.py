"""``verify.py``, shipped inside every bundle. It runs bare and imports nothing of the archive."""
