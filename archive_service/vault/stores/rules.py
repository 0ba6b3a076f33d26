"""The rules that every object store and key place obeys in the same words: names, locks, deletion.

Adapters call these before they touch their medium, so that a name or a lock is refused alike everywhere.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime

from archive_service.model.errors import Invalid, Locked
from archive_service.vault.stores.base import Lock, LockMode

_LONGEST_NAME = 512
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}"  # 255 bytes: the longest file name of common file systems
_IS_SEGMENT = re.compile(_SEGMENT).fullmatch
_IS_NAME = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*").fullmatch


def is_segment(name: str) -> bool:
    """Whether ``name`` can be one part of a key; what starts with a dot belongs to the store itself."""
    return _IS_SEGMENT(name) is not None


def is_name(key: str) -> bool:
    """Whether ``key`` is a name as ObjectStore defines it: no empty segment, none that starts with a dot (so
    neither ``.`` nor ``..``), none longer than 255 bytes."""
    return len(key) <= _LONGEST_NAME and _IS_NAME(key) is not None


def check_key(key: str) -> None:
    """Raises Invalid unless it is a name."""
    if not is_name(key):
        raise Invalid("an object name is ASCII letters, digits, '-_.', in segments joined by '/'")


def check_prefix(prefix: str) -> None:
    """Raises Invalid unless ``prefix`` is empty or a name followed by "/"."""
    if prefix == "":
        return
    if not prefix.endswith("/"):
        raise Invalid("a prefix is empty or ends with '/'")
    check_key(prefix[:-1])


def check_span(offset: int, length: int | None) -> None:
    """Raises Invalid for a negative offset or length of a read."""
    if offset < 0 or (length is not None and length < 0):
        raise Invalid("offset and length of a read are not negative")


def normal(lock: Lock) -> Lock:
    """The one form of a lock that stores keep: ``until`` in UTC, and without a term the default mode,
    because a mode says nothing then (S3 keeps none either). Raises Invalid for a time without offset."""
    if lock.until is None:
        return Lock(hold=lock.hold)
    if lock.until.tzinfo is None:
        raise Invalid("the end of a lock is a time with offset")
    return replace(lock, until=lock.until.astimezone(UTC))


def strictest(one: Lock, other: Lock) -> Lock:
    """The lock that satisfies both: what a name carries after two creators raced for it."""
    ends = [lock.until for lock in (one, other) if lock.until is not None]
    modes = {lock.mode for lock in (one, other) if lock.until is not None}
    mode = LockMode.GOVERNANCE if modes == {LockMode.GOVERNANCE} else LockMode.COMPLIANCE
    return Lock(mode=mode, until=max(ends, default=None), hold=one.hold or other.hold)


def check_change(key: str, old: Lock, new: Lock) -> None:
    """Raises Locked if ``new`` ends before ``old`` (in either mode) or turns a COMPLIANCE term into
    GOVERNANCE. The hold is free. Both locks are in normal form."""
    if old.until is None:
        return
    if new.until is None or new.until < old.until:
        raise Locked(f"object {key}: a term is never shortened")
    if old.mode is LockMode.COMPLIANCE and new.mode is LockMode.GOVERNANCE:
        raise Locked(f"object {key}: COMPLIANCE is never downgraded")


def check_deletable(key: str, lock: Lock, now: datetime) -> None:
    """Raises Locked while the object is held or its term has not passed."""
    if lock.hold:
        raise Locked(f"object {key}: under legal hold")
    if lock.until is not None and lock.until > now:
        raise Locked(f"object {key}: locked until its term has passed")
