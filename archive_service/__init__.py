"""archive-service: a compliance mail archive that can prove what it holds.

Reading order: ``model`` (words), ``vault`` (sealed objects and their keys), ``ledger`` (the logs that
are the only authority), ``catalog`` (a projection), then the roof: ``access``, ``export``, ``api``,
``bootstrap``, ``cli``. Mail comes in through the package ``ingest`` and is found through ``search``.
"""
