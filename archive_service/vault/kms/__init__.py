"""The key service (KMS): it alone can open table keys and secrets. One protocol, a back end a file; ``opening`` builds
the one that was chosen."""

from archive_service.vault.kms.base import Kms
from archive_service.vault.kms.local_file import LocalKms

__all__ = ["Kms", "LocalKms"]
