"""The catalog: rows projected from the logs, safe to delete and rebuild.

To read in this order: ``base`` (the protocols), ``tables`` and ``columns`` (what is kept), ``sql`` and ``jobs`` (how),
``engines`` with ``sqlite`` and ``postgres`` (where; ``failures``: what goes wrong there), ``migrations``, ``schemas``
(a rebuilt catalog takes its place on PostgreSQL), ``advisory`` (leases there), ``compare`` (for verify).
"""
