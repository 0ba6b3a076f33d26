"""A retention schedule: classes (why, and how long, mail is kept), and rules that say which mail is of which class.

Durations are ISO 8601 in years, months, weeks and days (``P10Y``, ``P6M``). Every class has an end: nothing is kept for
ever, and what no rule takes is of the default class.
"""

import calendar
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from archive_service.model.canonical import canonical
from archive_service.model.mail import Frozen

_DURATION = re.compile(r"P(?=[0-9])(?:([0-9]{1,3})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?")
_LONGEST = 150  # years
_CYCLE = 1461  # days of four years: two durations are compared from each of them


def after(moment: datetime, duration: str) -> datetime:
    """A moment and a duration: years and months by the calendar (31 January and a month is the last day of February),
    then weeks and days. Raises ValueError for what is no duration."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError("a duration in years, months, weeks and days: P10Y, P6M")
    years, months, weeks, days = (int(part or 0) for part in found.groups())
    month = moment.month - 1 + months + 12 * years
    year, month = moment.year + month // 12, month % 12 + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day) + timedelta(weeks=weeks, days=days)


def _bounded(duration: str) -> str:
    """One day to 150 years. Raises ValueError."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    if not begin < after(begin, duration) <= begin.replace(year=begin.year + _LONGEST):
        raise ValueError(f"a duration of one day to {_LONGEST} years")
    return duration


def _day_of_year(text: str) -> str:
    """A month and day that every year has, or 02-29, which is then the last day of February. Raises ValueError."""
    month, day = map(int, text.split("-"))
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(2024, month)[1]):
        raise ValueError("a month and day: 12-31")
    return text


def offset(text: str) -> timedelta:
    """How far a clock is ahead of UTC, of ``+01:00``. Raises ValueError."""
    hours, minutes = map(int, text[1:].split(":"))
    if minutes > 59 or hours > 14:
        raise ValueError("how far the clocks are ahead of UTC, or behind: +01:00")
    return timedelta(hours=hours, minutes=minutes) * (-1 if text[0] == "-" else 1)


def _offset(text: str) -> str:
    offset(text)
    return text


Duration = Annotated[str, StringConstraints(max_length=20), AfterValidator(_bounded)]
DayOfYear = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-[0-9]{2}$"), AfterValidator(_day_of_year)]
Offset = Annotated[str, StringConstraints(pattern=r"^[+-][0-9]{2}:[0-9]{2}$"), AfterValidator(_offset)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Names = Annotated[tuple[Line, ...], Field(max_length=1000)]


def fold(text: str) -> str:
    """Case and accents folded."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def words(text: str) -> list[str]:
    """The words of a text, folded."""
    return "".join(letter if letter.isalnum() else " " for letter in fold(text)).split()


def _with_words(text: str) -> str:
    """Raises ValueError for a text without a word: it would take nothing, or everything."""
    if not words(text):
        raise ValueError("a text with at least one word")
    return text


def _header(text: str) -> str:
    """``Name`` or ``Name: words``, the name of RFC 5322 section 2.2. Raises ValueError."""
    if not re.fullmatch(r"[!-9;-~]{1,100}(:.*)?", text):
        raise ValueError("a header field: Name, or Name: words")
    return text


Texts = Annotated[tuple[Annotated[Line, AfterValidator(_with_words)], ...], Field(max_length=100)]
HeaderTexts = Annotated[tuple[Annotated[Line, AfterValidator(_header)], ...], Field(max_length=100)]


@dataclass(frozen=True)
class TextCondition:
    """What only the mail itself can tell: whether it has all of ``words`` (folded), anywhere, or in one field of the
    lower-case name ``field``. ``key`` names it where the answers are kept."""

    words: tuple[str, ...]
    field: str | None = None

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits; the same for conditions that ask the same."""
        said = canonical({"field": self.field, "words": list(self.words)})
        return hashlib.sha256(b"archive-service/text-condition/v1\x00" + said).hexdigest()[:32]


class Start(StrEnum):
    """From when a term runs."""

    CAPTURE = "capture"
    SENT = "sent"
    FINANCIAL_YEAR = "financial_year"  # the end of the one in which the mail was sent
    MATTER = "matter"  # the closing of the class's matter
    ALERT = "alert"  # the closing of the matter in which an alert is dealt with (loi 2016-1691, article 9)
    DEPARTURE = "departure"  # of the last of its custodians to leave


CLOSINGS = frozenset({Start.MATTER, Start.ALERT})
EVENTS = CLOSINGS | {Start.DEPARTURE}


class Direction(StrEnum):
    """Between the organisation's own domains and elsewhere."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"


class RetentionClass(Frozen):
    """Why mail is kept, and how long. ``article``: of the law or the policy that says so; ``read_at``: where it can be
    read. ``year_offset``: by which clocks the year ends, ``+01:00``; UTC without it. ``minimum``: a term that the law
    names, during which mail is kept against a request to erase it; ``maximum``: after it the mail goes. ``event_by``:
    where the term starts with an event, how long after receipt that counts as having happened if nobody has told of it.
    ``lock``: the mode that the object's lock is raised to under a minimum.
    ``purpose``: whoever is shown mail of this class says what for."""

    id: Slug
    name: Line
    basis: Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
    article: Line
    read_at: Line | None = None
    start: Start = Field(default=Start.CAPTURE, strict=False)
    year_ends: DayOfYear | None = None
    year_offset: Offset | None = None
    matter: Line | None = None
    event_by: Duration | None = None
    minimum: Duration | None = None
    maximum: Duration
    lock: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE"
    purpose: bool = False

    def plain(self) -> dict[str, Any]:
        """JSON-ready; what older schedules did not have only where it says something, so that they read as they were
        set."""
        later = ("purpose", "year_offset")
        return {name: value for name, value in super().plain().items() if name not in later or value}

    @property
    def term(self) -> tuple[str | None, ...]:
        """What of it says how long mail is kept."""
        begins = (self.start, self.year_ends, self.year_offset, self.matter, self.event_by)
        return (*begins, self.minimum, self.maximum)

    @model_validator(mode="after")
    def _fits(self) -> "RetentionClass":
        """Raises ValueError."""
        if (self.start is Start.FINANCIAL_YEAR) != (self.year_ends is not None):
            raise ValueError("year_ends stands with start financial_year, and only there")
        if self.year_offset is not None and self.year_ends is None:
            raise ValueError("year_offset stands with year_ends, and only there")
        if (self.start in CLOSINGS) != (self.matter is not None):
            raise ValueError("matter stands with start matter or alert, and only there")
        if self.start is Start.ALERT and self.minimum is not None:
            raise ValueError(
                "an alert is kept no longer than it needs (loi 2016-1691, article 9): no minimum"
            )
        if (self.start in EVENTS) != (self.event_by is not None):
            raise ValueError("event_by stands where the term starts with an event, and only there")
        if self.lock == "COMPLIANCE" and self.minimum is None:
            raise ValueError("COMPLIANCE for the whole term needs a legal minimum")
        if self.minimum is not None and not _never_longer(self.minimum, self.maximum):
            raise ValueError("the maximum is not shorter than the minimum")
        return self


@lru_cache(maxsize=1000)
def _never_longer(first: str, second: str) -> bool:
    if first == second:
        return True
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    days = (begin + timedelta(days=number) for number in range(_CYCLE))
    return all(after(day, first) <= after(day, second) for day in days)


def _sorted_words(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(words(text))))


@lru_cache(maxsize=10_000)
def _texts(anywhere: tuple[str, ...], headers: tuple[str, ...]) -> tuple[tuple[TextCondition, ...], ...]:
    """Asked for each mail that is judged."""
    split = [text.partition(":") for text in headers]
    groups = (
        tuple(TextCondition(_sorted_words(text)) for text in anywhere),
        tuple(TextCondition(_sorted_words(said), name.lower()) for name, _, said in split),
    )
    return tuple(group for group in groups if group)


class Rule(Frozen):
    """Which mail is of a class: whatever fulfils every condition that is set, and any one value of it. Rules are asked
    by ``priority``, the smallest first; the first that takes a mail decides.

    ``domains``: of a sender or recipient, subdomains included; ``labels``: what the mail system called the journaled
    message; ``flags``: words of its finding; ``subject``: words in its subject, case and accents folded;
    ``attachments``: content types (``application/pdf``, ``image/*``) or endings of file names (``.xlsx``); ``larger``
    and ``smaller``: bytes of the message. ``words``: words of its subject, body, attachments and file names;
    ``headers``: a field of the message's header, and words in it (``X-Dept: achats``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: Slug
    klass: Slug = Field(alias="class")
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    sources: Names = ()
    custodians: Names = ()
    domains: Names = ()
    direction: Direction | None = Field(default=None, strict=False)
    labels: Names = ()
    flags: Names = ()
    subject: Names = ()
    attachments: Names = ()
    words: Texts = ()
    headers: HeaderTexts = ()
    larger: Annotated[int, Field(ge=0, le=2**53)] | None = None
    smaller: Annotated[int, Field(ge=1, le=2**53)] | None = None

    def texts(self) -> tuple[tuple[TextCondition, ...], ...]:
        """What it asks of the mail itself: any one of each group, of every group."""
        return _texts(self.words, self.headers)

    def plain(self) -> dict[str, Any]:
        """JSON-ready, by the names that a schedule is written with."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)


class Schedule(Frozen):
    """Classes, rules, and the class of what no rule takes. ``domains``: the organisation's own, for ``direction``.
    ``public_service``: its mail is public archives, which nobody eliminates without a visa (Code du patrimoine,
    article R212-14)."""

    classes: Annotated[tuple[RetentionClass, ...], Field(min_length=1, max_length=200)]
    rules: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()
    default: Slug
    domains: Names = ()
    public_service: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "Schedule":
        """Raises ValueError."""
        known = [each.id for each in self.classes]
        if len(set(known)) < len(known) or len({rule.id for rule in self.rules}) < len(self.rules):
            raise ValueError("every class and every rule has an id of its own")
        if {self.default, *(rule.klass for rule in self.rules)} - set(known):
            raise ValueError("the default and every rule name a class of this schedule")
        if any(rule.direction for rule in self.rules) and not self.domains:
            raise ValueError("a direction needs the organisation's domains")
        return self

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "classes": [each.plain() for each in self.classes],
            "rules": [each.plain() for each in self.rules],
            "default": self.default,
            "domains": list(self.domains),
            **({"public_service": True} if self.public_service else {}),
        }

    def reads_text(self) -> bool:
        """Whether a mail may have to be read to say its class."""
        return any(rule.words or rule.headers for rule in self.rules)

    def klass(self, name: str) -> RetentionClass:
        """The class of an id that a rule or ``default`` names."""
        return next(each for each in self.classes if each.id == name)

    def in_order(self) -> list[Rule]:
        """The rules as they are asked: by priority, then as they stand."""
        return sorted(self.rules, key=lambda rule: rule.priority)
