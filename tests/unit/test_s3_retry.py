"""When the S3 store asks again, how long it waits, and how it reads a service's refusals."""

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from archive_service.model.errors import AlreadyExists, NotFound, StoreDenied, StoreError, StoreFull
from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.failures import BadRequest, Forbidden, Passing, Unsupported, meaning
from archive_service.vault.stores.s3.retry import RetryPolicy
from archive_service.vault.stores.s3.versions import just_before


class Time:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def policy(time: Time, **more: object) -> RetryPolicy:
    return RetryPolicy(sleep=time.sleep, monotonic=lambda: time.now, random=lambda: 1.0, **more)  # type: ignore[arg-type]


def test_pauses_double_up_to_the_longest_and_tries_are_bounded() -> None:
    time, tries = Time(), []

    def attempt() -> None:
        tries.append(1)
        raise Passing("no")

    with pytest.raises(Passing):
        policy(time, tries=6, first_pause=0.5, longest_pause=4.0).run(attempt)
    assert len(tries) == 6
    assert time.pauses == [0.5, 1.0, 2.0, 4.0, 4.0]


def test_no_attempt_begins_after_the_total() -> None:
    time, tries = Time(), []

    def attempt() -> None:
        tries.append(1)
        time.now += 10.0  # a timeout
        raise Passing("no")

    with pytest.raises(Passing):
        policy(time, tries=99, first_pause=1.0, total=24.0).run(attempt)
    assert len(tries) == 3


def test_what_will_not_pass_is_raised_at_once() -> None:
    time = Time()

    def attempt() -> None:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        policy(time).run(attempt)
    assert time.pauses == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchBucket", StoreDenied),
        (405, "MethodNotAllowed", NotFound),
        (412, "PreconditionFailed", AlreadyExists),
        (409, "ConditionalRequestConflict", Passing),
        (409, "ExistingObjectIsDirectory", StoreError),
        (403, "AccessDenied", Forbidden),
        (403, "SignatureDoesNotMatch", StoreDenied),
        (400, "ExpiredToken", StoreDenied),
        (400, "InvalidArgument", BadRequest),
        (400, "RequestTimeout", Passing),
        (429, "TooManyRequests", Passing),
        (500, "InternalError", Passing),
        (503, "SlowDown", Passing),
        (507, "InsufficientStorage", StoreFull),
        (403, "QuotaExceeded", StoreFull),
        (501, "NotImplemented", Unsupported),
        (418, "Teapot", StoreError),
    ],
)
def test_refusals(status: int, code: str, kind: type[StoreError]) -> None:
    response = {
        "Error": {"Code": code, "Message": "at 10.0.0.1"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    found = meaning(ClientError(response, "PutObject"), "object a")  # type: ignore[arg-type]
    assert type(found) is kind
    assert "10.0.0.1" not in str(found)


def test_only_a_conflict_is_known_to_have_done_nothing() -> None:
    conflict = {"Error": {"Code": "ConditionalRequestConflict"}, "ResponseMetadata": {"HTTPStatusCode": 409}}
    known = meaning(ClientError(conflict, "PutObject"), "object a")  # type: ignore[arg-type]
    lost = meaning(ReadTimeoutError(endpoint_url="http://x"), "object a")
    assert isinstance(known, Passing) and not known.unknown
    assert isinstance(lost, Passing) and lost.unknown


def test_a_connection_never_shows_its_secret() -> None:
    assert "hidden" not in repr(S3Connection("b", access_key="a", secret_key="hidden"))


@pytest.mark.parametrize("key", ["a/0", "a/1", "a/A", "a/z", "a/-", "a/10", "b"])
def test_just_before_lies_between_a_name_and_those_before_it(key: str) -> None:
    letters = "-.0123456789ABCXYZ_abcxyz"
    before = just_before(key)
    assert before < key
    smaller = [key[:-1] + letter for letter in letters if letter < key[-1]]
    assert all(name < before for name in smaller)
    assert all(name + "/x" < before for name in smaller)
