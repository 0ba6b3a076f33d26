"""Moving an archive, or one tenant of it, into other stores: every object under its key, lock and digest.

``copying`` one object, ``keys`` the key store, ``owners`` one owner whole, ``relocating`` an archive, ``package`` and
``handover`` a tenant that leaves, ``loading`` the same tenant where it arrives.
"""
