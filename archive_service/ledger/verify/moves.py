"""What the move log says against what entries name and the store holds."""

from dataclasses import dataclass

from archive_service.ledger.entry import Entry
from archive_service.ledger.moves import KIND, move_log, moves_of, object_facts
from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import Tampered
from archive_service.vault.key_layout import LogId


@dataclass
class _Way:
    """An object's versions from the first store to this one. ``named``: an entry names it."""

    first: str
    last: str
    sha256: str
    seq: int
    named: bool = False


class Moves:
    """One owner's moves against its entries and the store. Takes the move log before all others. It keeps a line an
    object, and nothing for an archive that was never moved."""

    def __init__(self, owner: str, report: Report) -> None:
        self._log = str(move_log(owner))
        self._report = report
        self._ways: dict[str, _Way] = {}

    def take(self, log: LogId, entry: Entry) -> None:
        """One entry of any of the owner's logs."""
        if log.kind == KIND:
            self._take_moves(entry)
        elif self._ways:
            for facts in object_facts(entry):
                way = self._ways.get(str(facts.get("key")))
                if way is not None:
                    way.named = True

    def _take_moves(self, entry: Entry) -> None:
        try:
            for move in moves_of(entry):
                known = self._ways.get(move.key)
                if known is None:
                    self._ways[move.key] = _Way(move.source, move.target, move.sha256, entry.seq)
                elif (known.last, known.sha256) != (move.source, move.sha256):
                    self._damage(
                        entry.seq, "a move that does not begin where the one before it ended", move.key
                    )
                else:
                    known.last, known.seq = move.target, entry.seq
        except Tampered as error:
            self._damage(entry.seq, str(error), None)

    def check(self, log: LogId, entry: Entry, version: str) -> None:
        """What the store holds, as its oldest ``version``, of the object that an entry names."""
        for facts in object_facts(entry):
            key, named = str(facts.get("key")), str(facts.get("version"))
            way = self._ways.get(key)
            if way is None and version == named:
                continue
            if way is None:
                detail = "an object stands under another version than its entry names, and no move says so"
                self._report.damage(What.OBJECT, detail, log=str(log), seq=entry.seq, name=key)
            elif (way.first, way.last, way.sha256) != (named, version, facts.get("sha256")):
                detail = f"an object is not what its entry and its move ({self._log} {way.seq}) say"
                self._report.damage(What.OBJECT, detail, log=str(log), seq=entry.seq, name=key)

    def compare(self) -> None:
        """After all of the owner's logs were walked."""
        for key, way in self._ways.items():
            if not way.named:
                self._damage(way.seq, "a move of an object that no entry names", key)

    def _damage(self, seq: int, detail: str, key: str | None) -> None:
        self._report.damage(What.ENTRY, detail, log=self._log, seq=seq, name=key)
