"""The yearly pack on paper: what ``yearly_pack.pack`` made, with room to confirm each right, and the signed note."""

from collections.abc import Iterator, Mapping
from typing import Any

from archive_service.export.paper import Paper, Part, paper_pdf
from archive_service.export.pdf_layout import Column

_RIGHTS = (
    Column("Who, role", 0.24),
    Column("Given by", 0.19),
    Column("Until", 0.13),
    Column("Last used", 0.14),
    Column("Looked at again", 0.16),
    Column("Keep it?", 0.14),
)
_HOLDS = (
    Column("Hold", 0.30),
    Column("Owner", 0.16),
    Column("Placed", 0.14),
    Column("Captures", 0.12),
    Column("To be reviewed", 0.28),
)
_DISPOSITIONS = (
    Column("Disposition", 0.24),
    Column("Class", 0.20),
    Column("Legal basis", 0.32),
    Column("Captures", 0.10),
    Column("Unreadable", 0.14),
)
_EVENTS = (Column("Event", 0.25), Column("What", 0.35), Column("Time", 0.40))
_AMOUNTS = (Column("Of", 0.50), Column("Captures", 0.20), Column("Bytes of sealed objects", 0.30))
_LOGS = (Column("Log", 0.35), Column("Entries", 0.20), Column("Under a signed checkpoint", 0.45))
_MOST_EVENTS = 200
_KEEP = "[  ] yes   [  ] no"


def yearly_pack_pdf(whole: Mapping[str, Any]) -> bytes:
    """The PDF; the same pack gives the same bytes."""
    pack = whole["pack"]
    parts = (
        Part(facts=_facts(pack)),
        *_rights(pack["rights"]),
        *_holds(pack["holds"]),
        *_disposals(pack["disposals"]),
        _integrity(pack["integrity"]),
        *_costs(pack["costs"]),
    )
    title = f"Yearly pack {pack['year']}"
    return paper_pdf(Paper(title, _means(pack), parts, str(whole["note"]), pack["owner"], pack["made_at"]))


def _means(pack: Mapping[str, Any]) -> str:
    until = "" if pack["year_over"] else " The year is not over: it says what there was until then."
    return (
        f"What the archive's logs and acts say of {pack['year']}: who may do what, which holds stand, what was "
        f"destroyed, whether the logs are whole, and how much is archived.{until}"
    )


def _facts(pack: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Archive owner", pack["owner"]),
        ("From", _time(pack["from"])),
        ("Until", _time(pack["to"])),
        ("Made", _time(pack["made_at"])),
    ]


def _rights(rights: Mapping[str, Any]) -> Iterator[Part]:
    looked = rights["uses_looked_back_to"]
    uses = "the whole span" if rights["uses_complete"] else f"back to {_time(looked)} only"
    facts = [
        ("In force", str(len(rights["in_force"]))),
        ("Not used", _ids(rights["unused"])),
        ("Not looked at again", _ids(rights["not_looked_at"])),
        ("To be withdrawn", _ids(rights["to_withdraw"])),
        ("Break-glass", f"{len(rights['break_glass'])} times"),
        ("Uses looked for", uses),
    ]
    yield Part(
        heading="Rights in force",
        facts=facts,
        columns=_RIGHTS,
        rows=[_right(each) for each in rights["in_force"]],
        blanks=("Looked at by", "Date, signature"),
    )


def _right(right: Mapping[str, Any]) -> tuple[str, ...]:
    given = " and ".join(filter(None, (right["asked_by"], right["approved_by"])))
    last = _day(right["last_used"]) if right["last_used"] else "not used" if right["unused"] else "not found"
    seen = right["recertified"]
    looked = f"{seen['verdict']} {_day(seen['at'])} by {seen['by']}" if seen else "not yet"
    return (
        f"{right['subject']}, {right['role']} ({right['id']})",
        f"{given}, {_day(right['given_at'])}",
        _day(right["until"]),
        last,
        looked,
        _KEEP,
    )


def _holds(holds: Mapping[str, Any]) -> Iterator[Part]:
    facts = [
        ("In force", str(len(holds["in_force"]))),
        ("Review overdue", _ids(holds["overdue"])),
        ("Placed, released", f"{holds['placed']}, {len(holds['released'])}"),
        ("Orders to keep", str(holds["orders_to_keep"])),
    ]
    yield Part(
        heading="Holds",
        facts=facts,
        columns=_HOLDS,
        rows=[
            (
                f"{each['name']} ({each['id']})",
                each["owner"],
                _day(each["placed_at"]),
                f"{each['captures']:,}",
                _day(each["review"]) + (", overdue" if each["overdue"] else ""),
            )
            for each in holds["in_force"]
        ],
    )


def _disposals(disposals: Mapping[str, Any]) -> Iterator[Part]:
    barred = ", ".join(f"{number} {ground}" for ground, number in disposals["barred"].items())
    facts = [
        ("Dispositions done", str(len(disposals["dispositions"]))),
        ("Orders carried out", _ids([each["order"] for each in disposals["orders"]])),
        ("Barred, by ground", barred or "none"),
        ("Withdrawn", str(disposals["withdrawn"])),
        ("Keys destroyed", f"of {disposals['keys_destroyed']:,} captures"),
        ("Objects deleted", f"of {disposals['objects_deleted']:,} captures"),
    ]
    rows = [
        (
            run["disposition"],
            each["class"],
            each["article"],
            f"{each['captures']:,}",
            _day(run["made_unreadable_on"]),
        )
        for run in disposals["dispositions"]
        for each in run["classes"]
    ]
    yield Part(heading="Disposals", facts=facts, columns=_DISPOSITIONS, rows=rows)
    events = disposals["events"]
    shown = [(each["id"], each["what"], _time(each["time"])) for each in events[:_MOST_EVENTS]]
    more = len(events) - len(shown)
    yield Part(
        heading="Destructions in the event journal: each has a certificate under its id",
        facts=[("Not shown here", str(more))] if more else [] if shown else [("Events", "none")],
        columns=_EVENTS,
        rows=shown,
    )


def _integrity(integrity: Mapping[str, Any]) -> Part:
    found = integrity["last_verify"]
    verified = "never, on this machine"
    if found is not None:
        verified = f"{_time(found['at'])}: " + ("clean" if found["clean"] else "damage was named")
    rows = [
        (
            each["log"],
            f"{each['size']:,}",
            "none yet" if each["checkpoint"] is None else f"{each['checkpoint']['size']:,}",
        )
        for each in integrity["logs"]
    ]
    facts = [("Last whole verify", verified), ("Timestamps of a third party", "none")]
    return Part(heading="Integrity, when the pack was made", facts=facts, columns=_LOGS, rows=rows)


def _costs(costs: Mapping[str, Any]) -> Iterator[Part]:
    rows = [
        ("archived before the year", costs["before"]),
        ("archived in the year", costs["came"]),
        ("of both, standing now", costs["stands_now"]),
        *((f"class {each['class'] or '(no schedule)'}", each) for each in costs["classes"]),
        *((f"source {each['name'] or each['source']}", each) for each in costs["sources"]),
    ]
    price = costs["price"]
    by = (
        "no price set: quantities alone" if price is None else f"{price['per_gib_month']} {price['currency']}"
    )
    facts = [("A GiB and month", by)]
    if price is not None:
        facts += [
            ("What stands, a month", f"{price['month']} {price['currency']}"),
            ("The year, at most", f"{price['span']} {price['currency']}"),
        ]
    yield Part(
        heading="Costs: the sealed mail in its store, one copy",
        facts=facts,
        columns=_AMOUNTS,
        rows=[(name, f"{each['captures']:,}", f"{each['bytes']:,}") for name, each in rows],
    )


def _ids(ids: list[str]) -> str:
    return ", ".join(ids) or "none"


def _time(time: str) -> str:
    return time[:19].replace("T", " ") + " UTC"


def _day(time: str) -> str:
    return time[:10]
