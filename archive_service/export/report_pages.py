"""What stands on the report's pages: the cover, the list of messages, and each message's pages."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from archive_service.export.evidence import ArchiveKeys, BundleRequest
from archive_service.export.numbering import Numbering
from archive_service.export.pdf_layout import (
    BLACK,
    BODY,
    BOTTOM,
    GREY,
    LEFT,
    PALE,
    RIGHT,
    ROOM,
    SMALL,
    TINY,
    TOP,
    Column,
    Flow,
    Page,
)
from archive_service.export.sheet import Sheet, Stated, when
from archive_service.export.typesetting import Setter, Typecase
from archive_service.export.words import Words

_SHOWN_CHECKPOINTS = 12
_QUERY_SHOWN = 2000
_NAMED_SHOWN = 100
_HOW = 330.0  # room that keeps the instructions and the hand-over on one page
_FACT = 15.0  # room of a fact on one line
_FIRST, _LAST = 6, 4  # facts of a capture that stay with its title, and that stay together at its end
_CAPTURE = 14 + _FIRST * _FACT
_EVENTS = 220.0  # a table of events up to this height is kept on one page
_TITLE = 240  # characters of a subject set as the title; the header shows all
_RUNNING, _BATES = 8.0, 10.0
_HEAD_Y, _FOOT_Y = TOP + 28, BOTTOM - 30


@dataclass
class Totals:
    """What the cover counts and names, gathered message by message."""

    messages: int = 0
    captures: int = 0
    attachments: int = 0
    checkpoints: dict[Stated, None] = field(default_factory=dict)
    roots: dict[Stated, None] = field(default_factory=dict)


@dataclass(frozen=True)
class ListRow:
    """A message in the list: when, from whom, about what, and its first page, counted from 0."""

    sent: str
    sender: str
    subject: str
    page: int


class Front:
    """The cover and the list of messages."""

    def __init__(self, request: BundleRequest, keys: ArchiveKeys, words: Words, case: Typecase) -> None:
        self._words, self._keys = words, keys
        self._plain = request
        admit = case.admit_line
        for word in words.every():
            admit(word)
            case.admit(word, bold=True)
        self._tenant = admit(request.tenant_name)
        self._matter = admit(request.matter or words("none"))
        self._by = admit(request.requested_by)
        self._purpose = admit(request.purpose or words("none"))
        self._query = admit((request.query or "")[:_QUERY_SHOWN])
        self._named = [admit(line[:_QUERY_SHOWN]) for line in request.named[:_NAMED_SHOWN]]
        self._names = {key: admit(key.split("+")[0]) for key in (*keys.log, *keys.root)}

    def lay(
        self,
        flow: Flow,
        totals: Totals,
        numbering: Numbering,
        volumes: int,
        rows: Callable[[], Iterable[ListRow]],
    ) -> None:
        """Cover, then list, on as many pages as they take."""
        self._title(flow)
        self._request(flow)
        self._contents(flow, totals, numbering, volumes)
        self._anchoring(flow, totals)
        self._how(flow)
        flow.end()
        self._list(flow, numbering, rows())
        flow.end()

    def _title(self, flow: Flow) -> None:
        words = self._words
        flow.name(words("title"))
        flow.space(6)
        flow.text(self._tenant, 10, grey=GREY)
        flow.text(words("title"), 24, bold=True)
        if self._plain.matter:
            flow.text(self._matter, 14)
        flow.rule(PALE)

    def _request(self, flow: Flow) -> None:
        words, request = self._words, self._plain
        flow.heading(words("request"))
        flow.fact(words("archive_of"), self._tenant)
        flow.fact(words("matter"), self._matter)
        flow.fact(words("requested_by"), self._by)
        flow.fact(words("requested_at"), when(request.requested_at))
        flow.fact(words("purpose"), self._purpose)
        if request.ids is not None:
            flow.fact(words("selection"), words("selected", count=len(request.ids)))
        else:
            flow.fact(words("query"), words("all") if self._query.strip() in ("", "*") else self._query)
            for line in self._named:
                flow.fact(words("named"), line)
        flow.fact(words("export"), request.export_id)

    def _contents(self, flow: Flow, totals: Totals, numbering: Numbering, volumes: int) -> None:
        words = self._words
        flow.heading(words("contents"))
        flow.fact(words("messages"), str(totals.messages))
        flow.fact(words("captures"), str(totals.captures))
        flow.fact(words("attachments"), str(totals.attachments))
        flow.fact(words("pages"), str(numbering.pages))
        first, last = numbering.label(0), numbering.label(numbering.pages - 1)
        flow.fact(words("bates_range"), f"{first} \u2013 {last}")
        if volumes > 1:
            flow.fact(words("volumes"), str(volumes))

    def _anchoring(self, flow: Flow, totals: Totals) -> None:
        words = self._words
        flow.heading(words("anchoring"))
        shown = list(totals.checkpoints)[:_SHOWN_CHECKPOINTS]
        places = [(words("log"), place) for place in shown]
        places += [(words("root_log"), place) for place in list(totals.roots)[:_SHOWN_CHECKPOINTS]]
        for label, place in places:
            flow.need(30)
            flow.fact(label, words("checkpoint_at", origin=place.origin, size=place.size))
            flow.fact(words("root_hash"), place.root, mono=True)
        more = len(totals.checkpoints) - len(shown)
        if more > 0:
            flow.text(words("more_checkpoints", count=more), SMALL, grey=GREY)
        flow.heading(words("keys"))
        for key in dict.fromkeys((*self._keys.log, *self._keys.root)):
            flow.need(30)
            flow.fact(words("key"), self._names[key])
            flow.fact(words("fingerprint"), hashlib.sha256(key.encode()).hexdigest(), mono=True)

    def _how(self, flow: Flow) -> None:
        words = self._words
        flow.need(_HOW)
        flow.heading(words("how"))
        for number in (1, 2, 3):
            flow.need(30)
            flow.text(f"{number}.  {words(f'how_{number}')}", 9)
            flow.space(2)
        flow.space(2)
        flow.text(words("what"), 9)
        flow.heading(words("hand_over"))
        flow.blank(words("manifest_hash"), 2)
        flow.blank(words("date"))
        flow.blank(words("name"))
        flow.blank(words("signature"))

    def _list(self, flow: Flow, numbering: Numbering, rows: Iterable[ListRow]) -> None:
        words = self._words
        flow.name(words("list"))
        flow.text(words("list"), 15, bold=True)
        flow.space(4)
        label = flow.setter.width(numbering.label(0), SMALL) + 10
        bates = min(max(0.14, label / ROOM), 0.45)
        columns = [
            Column(words("number"), 0.07, wraps=False),
            Column(words("bates"), bates, wraps=False),
            Column(words("sent"), 0.19, wraps=False),
            Column(words("from"), (0.74 - bates) * 0.42, wraps=False),
            Column(words("subject"), (0.74 - bates) * 0.58, wraps=False),
        ]
        flow.table_head(columns)
        for number, row in enumerate(rows, 1):
            cells = (str(number), numbering.label(row.page), row.sent, row.sender, row.subject)
            flow.table_row(columns, cells, link=row.page)


def lay_message(flow: Flow, sheet: Sheet, words: Words, number: int, count: int) -> None:
    """All pages of one message; it begins on a new one."""
    title = words("message_n", number=number, count=count)
    flow.name(title)
    flow.text(title, SMALL, grey=GREY)
    subject = sheet.subject.strip() or words("no_subject")
    flow.text(subject if len(subject) <= _TITLE else subject[:_TITLE] + "\u2026", 14)
    if sheet.headers:
        flow.heading(words("header"))
    for fact in sheet.headers:
        flow.fact(fact.label, fact.value)
    if sheet.remarks:
        flow.heading(words("remarks"))
        for remark in sheet.remarks:
            flow.text("\u2013  " + remark)
    flow.heading(words("body"))
    if sheet.body:
        flow.quote(sheet.body)
    if sheet.html:
        flow.space(6)
        flow.need(45)
        flow.text(words("html_follows"), SMALL, grey=GREY)
        flow.space(2)
        flow.quote(sheet.html)
    if sheet.body_note:
        flow.text(sheet.body_note, SMALL, grey=GREY)
    _lay_attachments(flow, sheet, words)
    _lay_envelope(flow, sheet, words)
    _lay_looks(flow, sheet, words)
    _lay_custody(flow, sheet, words)
    flow.end()


def _lay_envelope(flow: Flow, sheet: Sheet, words: Words) -> None:
    flow.heading(words("envelope"))
    flow.fact(words("sender"), sheet.sender or words("none"))
    flow.text(sheet.envelope_note, SMALL, grey=GREY)
    if not sheet.recipients:
        return
    flow.space(4)
    columns = [
        Column(words("recipient"), 0.48),
        Column(words("role"), 0.12),
        Column(words("how_known"), 0.40),
    ]
    flow.table(columns, [(cells, "") for cells in sheet.recipients])


def _lay_attachments(flow: Flow, sheet: Sheet, words: Words) -> None:
    if not sheet.attachments:
        return
    columns = [Column(words("file"), 0.50), Column(words("type"), 0.32), Column(words("size"), 0.18)]
    rows = [(cells, f"SHA-256 {digest}") for cells, digest in sheet.attachments]
    flow.table(columns, rows, title=words("attachments"))


def _lay_looks(flow: Flow, sheet: Sheet, words: Words) -> None:
    for number, look in enumerate(sheet.looks):
        if not number:
            flow.heading(words("looks"), keep=4 * _FACT)
        flow.space(6 if number else 0)
        for at, fact in enumerate(look):
            if not at:
                flow.need(4 * _FACT)
            flow.fact(fact.label, fact.value, mono=fact.mono)


def _lay_custody(flow: Flow, sheet: Sheet, words: Words) -> None:
    flow.heading(words("custody"), keep=_CAPTURE)
    for number, capture in enumerate(sheet.captures, 1):
        flow.space(6 if number > 1 else 0)
        flow.need(_CAPTURE)
        flow.text(words("capture_n", number=number), BODY, bold=True)
        for at, fact in enumerate(capture):
            if at == len(capture) - _LAST:
                flow.need(_LAST * _FACT)
            flow.fact(fact.label, fact.value, mono=fact.mono)
    if not sheet.events:
        return
    columns = [
        Column(words("time"), 0.21),
        Column(words("event"), 0.23),
        Column(words("recorded"), 0.26),
        Column(words("detail"), 0.30),
    ]
    flow.table(columns, [(cells, "") for cells in sheet.events], title=words("events"), whole=_EVENTS)


class Running:
    """The running header and footer: matter, page, export, Bates number."""

    def __init__(self, request: BundleRequest, words: Words, case: Typecase) -> None:
        self._words = words
        self._left = case.admit_line(" \u00b7 ".join(filter(None, (request.tenant_name, request.matter))))
        self._foot = request.export_id

    def put(self, page: Page, setter: Setter, numbering: Numbering, index: int) -> None:
        """Adds both to a page, the ``index``-th counted from 0."""
        page.rules += [(LEFT, RIGHT, _HEAD_Y - 6, PALE), (LEFT, RIGHT, _FOOT_Y + 14, PALE)]
        counter = self._words("page", page=index + 1, pages=numbering.pages)
        right = setter.width(counter, _RUNNING)
        page.put(setter.clip(self._left, _RUNNING, ROOM - right - 20), _RUNNING, GREY, LEFT, _HEAD_Y)
        page.put(setter.clip(counter, _RUNNING, ROOM), _RUNNING, GREY, RIGHT - right, _HEAD_Y)
        page.put(setter.clip(self._foot, TINY, ROOM / 2), TINY, GREY, LEFT, _FOOT_Y)
        bates = next(setter.lines(numbering.label(index), _BATES, ROOM, bold=True))
        page.put(bates, _BATES, BLACK, RIGHT - bates.width, _FOOT_Y)
