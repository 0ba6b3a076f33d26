"""``reconcile``: present, missing, extra; what is shown is recorded."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.bootstrap import open_core
from archive_service.completeness.reconciling import Period, reconcile
from archive_service.model.mail import Finding, Parsed
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from tests.flow.archive_fixtures import Said, done, no_settings_around, run

__all__ = ["no_settings_around"]  # fixture


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An archive with mails one to three, and one without a Message-ID."""
    folder, mails = tmp_path / "archive", tmp_path / "mails"
    mails.mkdir()
    for name in ("one", "two", "three"):
        (mails / f"{name}.eml").write_bytes(
            f"Message-ID: <{name}@ex.fr>\r\nSubject: {name}\r\n\r\nx".encode()
        )
    (mails / "without.eml").write_bytes(b"Subject: none\r\n\r\nx")
    done("init", "--data", folder, "--tenant", "acme")
    done("import", "eml", mails, "--tenant", "acme", "--data", folder)
    return folder


def against(data: Path, text: str, *more: str) -> Said:
    listing = data.parent / "listing"
    listing.write_text(text)
    return run("reconcile", listing, "--data", data, "--json", *more)


def test_all_present(data: Path) -> None:
    said = against(data, "<one@ex.fr>\n<two@ex.fr>\n")
    assert said.code == 0
    assert said.answer == {
        "format": "ids", "listed": 2, "repeated": 0, "present": 2, "missing": [], "extra": [], "unnamed": 1,
    }  # fmt: skip


def test_what_is_missing_is_named_and_the_answer_is_no(data: Path) -> None:
    said = against(data, "<one@ex.fr>\n<lost@ex.fr>\n<ONE@ex.fr>\n")
    assert said.code == 1
    assert said.answer["missing"] == ["lost@ex.fr", "ONE@ex.fr"]


def test_extra_is_asked_of_a_bounded_period_alone(data: Path) -> None:
    assert against(data, "<one@ex.fr>\n", "--since", "2020-01-01").answer["extra"] == []
    period = ("--since", "2020-01-01", "--until", "2120-01-01")
    assert sorted(against(data, "<one@ex.fr>\n", *period).answer["extra"]) == ["three@ex.fr", "two@ex.fr"]
    before = ("--since", "2020-01-01", "--until", "2020-02-01")
    assert against(data, "<one@ex.fr>\n", *before).answer["extra"] == []


def test_one_source_alone(data: Path) -> None:
    done("source", "add", "--tenant", "acme", "--kind", "postfix", "--name", "feed", "--data", data)
    assert against(data, "<one@ex.fr>\n", "--source", "feed").answer["missing"] == ["one@ex.fr"]
    assert against(data, "<one@ex.fr>\n", "--source", "import generic").code == 0
    said = against(data, "<one@ex.fr>\n", "--source", "none")
    assert (said.code, said.answer["error"]["code"]) == (1, "source.unknown")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--since", "2020-01-02", "--until", "2020-01-01"), "reconcile.period"),
        (("--since", "yesterday"), "input.usage"),
    ],
)
def test_wrong_use(data: Path, more: tuple[str, ...], code: str) -> None:
    said = against(data, "<one@ex.fr>\n", *more)
    assert said.code == 2
    assert said.answer["error"]["code"] == code


def test_the_look_is_recorded(data: Path) -> None:
    against(data, "<one@ex.fr>\n<lost@ex.fr>\n", "--purpose", "monthly check")
    core = open_core(Settings(data=data))
    opened = open_tenant(core, core.tenant("acme"))
    try:
        (newest, *_), _ = opened.services.access_log.newest(1)
    finally:
        opened.close()
        core.close()
    assert (newest.event.action, newest.event.purpose) == ("reconcile", "monthly check")
    assert newest.event.detail == {"listed": 2, "missing": 1, "extra": 0}


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


@given(st.lists(NAMES, unique=True), st.lists(NAMES | st.none()), st.booleans())
def test_every_name_is_present_missing_or_extra(
    listed: list[str], held: list[str | None], bounded: bool
) -> None:
    class Held:
        def dump(self):  # type: ignore[no-untyped-def]
            for number, name in enumerate(held):
                parsed = Parsed(
                    parser="p", dialect="d", inner_start=0, inner_end=0, inner_digest="0",
                    message_id=None if name is None else f"<{name}>",
                )  # fmt: skip
                finding = Finding(
                    capture=str(number),
                    message="m",
                    source="s",
                    received_at="2026-03-01T00:00:00Z",
                    parsed=parsed,
                )
                yield {"table": "captures", "finding": finding.plain()}
            yield {"table": "messages"}

    both = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    found = reconcile(Held(), listed, both if bounded else Period())
    there = {name for name in held if name is not None}
    assert set(found.missing) == set(listed) - there
    assert found.present == len(set(listed) & there)
    assert set(found.extra) == (there - set(listed) if bounded else set())
    assert found.unnamed == held.count(None)
