"""Sealed objects, their keys, and the stores they lie in.

Reading order: ``key_layout`` (every name), ``stores`` (protocols and back ends), ``chunked`` and ``seal``
(format v1), ``keyring`` (day keys, records, secrets), ``kms``.
"""
