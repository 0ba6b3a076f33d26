"""``kill -9`` of the scheduler after every step that the outside can see, and the next one: the same end, each act
once, no mail twice, a certificate that is true."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from archive_service.bootstrap import open_core
from archive_service.catalog.base import Job
from archive_service.catalog.jobs import SqlJobs
from archive_service.ledger.acts import Acts
from archive_service.ledger.reader import read_from
from archive_service.settings import load
from tests.flow.archive_fixtures import have_erased, no_settings_around, run
from tests.flow.conftest import pool
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import mail, taken
from tests.flow.test_disposition import WORD, archived, at_once, decided, holding
from tests.flow.test_exports_expire import made
from tests.flow.test_notices import Post
from tests.services.alarm_receivers import MailSink, mail_sink

__all__ = ["at_once", "no_settings_around", "pool"]
FULL = os.environ.get("ARCHIVE_TEST_FULL") == "1"
NEVER = -1
ONE_OF = ("create */generations/*", "put */table/*", "write database")
ONCE = ("disposition.run", "erasure.ask", "disposition.done", "erasure.delete", "erasure.deleted")
TOLD = ["anne@ex.fr", "bob@ex.fr"]


class Lives:
    """Schedulers that begin and die, one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.scheduler_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, data: Path, day: int, last: int = NEVER) -> tuple[bool, list[str]]:
        """One, from that day on; whether it was killed, and its steps up to there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{data} {day} {last}\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        return said["killed"], said["steps"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


class Prepared:
    """An archive in which all that the scheduler does is due: a disposition, an erasure on request, notices."""

    def __init__(self, data: Path, folder: Path, pool) -> None:
        with RealApi(data, pool) as api:
            captures = archived(api, folder)
            mail(folder / "e", "four", "x@ex.fr", "b@ex.fr", "efface")
            (erased,) = taken(api, folder / "e")
            api.follow()
            have_erased(data, erased)
            self.export = made(api, WORD)
            self.disposition = decided(api)
            Post(api).begin()
            api.follow()
            self.gone = (captures[WORD], captures["autre"], erased)
            self.stays = captures["facture 7"]
        self.data = data


def points(steps: list[str]) -> list[int]:
    """After which steps to die: after each, or after the first of each kind that changes what there is. Keys that are
    wrapped anew and rows of tables that are thrown away are of one kind each."""
    if FULL:
        return list(range(len(steps)))
    told = [step for step in steps if not step.startswith(("create", "put", "write"))]
    return sorted({steps.index(step) for step in (*told, *ONE_OF)})


def acts_of(data: Path) -> tuple[Acts, Counter[str]]:
    """The acts at their head, and how often each was taken."""
    core = open_core(load(None, data=data))
    try:
        tenant = core.tenant("acme")
        tenant.acts.refresh()
        log, vault = tenant.acts.log, tenant.vault
        entries = read_from(core.store, log, 0)
        said = [vault.open(log, entry.fields["payload"]) for entry in entries if "payload" in entry.fields]
        return tenant.acts, Counter(str(act["act"]) for act in said)
    finally:
        core.close()


def mails(sink: MailSink) -> list[str]:
    """To whom mails went since the last look."""
    found: list[str] = []
    while not sink.mails.empty():
        found += sink.mails.get()[0].rcpt_tos
    return sorted(found)


def same_end(data: Path, prepared: Prepared, told: list[str], why: str) -> None:
    """All is done, once, and what is said of it is so."""
    acts, times = acts_of(data)
    run_ = acts.dispositions.known[prepared.disposition]
    assert run_.state == "done", why
    assert {word: times[word] for word in ONCE} == dict.fromkeys(ONCE, 1) | {"erasure.ask": 2}, why
    people = [who for each in acts.notices.known.values() for who in each.people.values()]
    states = [step.state for who in people for step in who.steps]
    assert len(states) == len(people) == len(TOLD), why
    assert states.count("unknown") <= 1, (
        why
    )  # cut off beside its mail: nobody knows, and it is not sent again
    assert len(told) == len(set(told)) >= states.count("sent"), f"a mail went twice, or never, {why}"
    assert set(told) <= set(TOLD), why
    names = [path.name for path in (data / "objects").rglob("*") if path.is_file()]
    assert not [name for name in names if any(gone in name for gone in prepared.gone)], why
    assert [name for name in names if prepared.stays in name], why
    assert run_.at < str(run_.unreadable) <= str(run_.deleted), why
    batches = [
        each
        for each in acts.erasures.batches.values()
        if set(each.captures) & {each.id for each in run_.going}
    ]
    assert run_.unreadable == max(str(each.destroyed_at) for each in batches), why
    assert holding(data) == [], why
    assert not list((data / "exports").rglob("*.zip")) and run_.exports_gone, why
    with closing(SqlJobs.sqlite(next((data / "projections").rglob("jobs.sqlite")))) as jobs:
        assert "expired_at" in ((jobs.get(prepared.export) or Job("", "", "", {})).result or {}), why
    checked = run("verify", "--data", data, "--json")
    assert checked.answer["clean"] is True, (why, checked.out)


def test_disposition_and_all_else_comes_to_the_same_end_wherever_the_scheduler_is_killed(
    tmp_path, pool, monkeypatch
):
    with mail_sink() as sink:
        for name, value in (
            ("ALARM_MAIL_SERVER", f"127.0.0.1:{sink.port}"),
            ("ALARM_MAIL_SECURITY", "none"),
            ("ALARM_MAIL_FROM", "archive@ex.fr"),
            ("ALARM_MAIL_TO", "ops@ex.fr"),
            ("PUBLIC_URL", "https://archive.ex.fr"),
        ):
            monkeypatch.setenv(f"ARCHIVE_{name}", value)
        prepared = Prepared(tmp_path / "prepared", tmp_path, pool)
        lives = Lives()
        try:
            whole = tmp_path / "whole"
            shutil.copytree(prepared.data, whole)
            killed, steps = lives.live(whole, 1)
            assert not killed
            same_end(whole, prepared, mails(sink), "never killed")
            for last in points(steps):
                data = tmp_path / f"after-{last}"
                shutil.copytree(prepared.data, data)
                killed, seen = lives.live(data, 1, last)
                assert killed, steps[last]
                assert not lives.live(data, 4)[0]
                same_end(data, prepared, mails(sink), f"killed after step {last}: {seen[-1]}")
                shutil.rmtree(data)
        finally:
            lives.close()
