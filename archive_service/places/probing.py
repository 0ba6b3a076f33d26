"""Whether the buckets of an archive on S3 keep what is promised of them; and making buckets that do.

Where an archive is embedded there is nothing to probe: a file system is not WORM, and says so itself.
"""

from collections.abc import Callable
from functools import partial

from archive_service.model.clock import Clock, utc_now
from archive_service.model.errors import ArchiveError, Refused
from archive_service.places.opening_s3 import connection_to
from archive_service.places.placement import Bucket, OnS3
from archive_service.settings import Settings
from archive_service.vault.stores.s3.apart import probe_apart
from archive_service.vault.stores.s3.buckets import make_archive_bucket, make_key_bucket
from archive_service.vault.stores.s3.probe import probe_archive, probe_keys

Seen = list[tuple[str, str]]
"""What was looked at, and what was seen."""

HOW_ARCHIVE = (
    "An archive bucket needs Object Lock and versioning from its first day: "
    "`aws s3api create-bucket --bucket NAME --object-lock-enabled-for-bucket`, or `init --create-buckets`."
)
HOW_KEYS = "A key place's bucket has no versions: `aws s3api create-bucket --bucket NAME`, or `init --create-buckets`."


class Probes:
    """The probes of an archive's buckets, each named ``archive bucket``, ``key place a`` or ``key place b``."""

    def __init__(self, settings: Settings, placed: OnS3, clock: Clock = utc_now) -> None:
        self._how: dict[str, str] = {"archive bucket": HOW_ARCHIVE}
        archive = connection_to(settings, placed.archive)
        self._probes: dict[str, Callable[[], Seen]] = {
            "archive bucket": lambda: list(probe_archive(archive, clock))
        }
        self._makers: dict[str, Callable[[], bool]] = {
            "archive bucket": partial(make_archive_bucket, archive)
        }
        for name, place in zip(("key place a", "key place b"), placed.keys, strict=True):
            if isinstance(place, Bucket):
                self._add_keys(name, settings, place)
        first, second = placed.keys
        if isinstance(first, Bucket) and isinstance(second, Bucket):
            apart = partial(probe_apart, connection_to(settings, first), connection_to(settings, second))
            self._how["both key places"] = "Give two buckets, best at two providers."
            self._probes["both key places"] = apart

    def _add_keys(self, name: str, settings: Settings, place: Bucket) -> None:
        connection = connection_to(settings, place)
        self._how[name] = HOW_KEYS
        self._probes[name] = lambda: list(probe_keys(connection))
        self._makers[name] = partial(make_key_bucket, connection)

    def make_buckets(self) -> list[str]:
        """Make the buckets that do not exist; the names of those made. Raises StoreError."""
        return [name for name, make in self._makers.items() if make()]

    def run(self) -> dict[str, Seen | ArchiveError]:
        """Every probe's report, or why its bucket is refused or cannot be asked."""
        found: dict[str, Seen | ArchiveError] = {}
        for name, probe in self._probes.items():
            try:
                found[name] = probe()
            except ArchiveError as error:
                found[name] = error
        return found

    def require_fit(self) -> None:
        """Raises Refused with every reason and how to make a fit bucket, under the code of the first one."""
        unfit = {name: seen for name, seen in self.run().items() if isinstance(seen, ArchiveError)}
        if not unfit:
            return
        reasons = [f"{name}: {error}. {self._how[name]}" for name, error in unfit.items()]
        raise Refused("\n".join(reasons), code=next(iter(unfit.values())).code)
