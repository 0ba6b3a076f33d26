"""What was erased on request leaves the store when its lock is over, said by acts before and after."""

from datetime import timedelta

import pytest

from archive_service.disposal.erasing import run_batch
from archive_service.disposal.sweeping import Sweeping, left
from archive_service.model.errors import StoreError
from tests.flow.archive_fixtures import have_erased, no_settings_around, run
from tests.flow.test_disposition import WORD, archived, at_once, objects

__all__ = ["at_once", "no_settings_around"]

NOW = timedelta()


def erased(api, tmp_path):
    captures = archived(api, tmp_path)
    have_erased(api.data, captures[WORD])
    api.follow()
    run_batch(api.core, api.tenant, today_too=True)
    return captures[WORD]


def stands(api, capture):
    return any(capture in path.name for path in objects(api))


def verified(api):
    said = run("verify", "--data", api.data)
    return said.code == 0, said.out


def test_gdpr_article_17_the_object_goes_too_and_verify_knows(api, tmp_path):
    capture = erased(api, tmp_path)
    assert stands(api, capture)
    assert Sweeping(NOW).run(api.core, api.tenant) == 1
    assert not stands(api, capture)
    assert left(api.tenant.acts) == []
    assert Sweeping(NOW).run(api.core, api.tenant) == 0
    ok, said = verified(api)
    assert ok, said


def test_nothing_goes_before_the_act_that_says_so_is_old_enough(api, tmp_path):
    capture = erased(api, tmp_path)
    sweeping = Sweeping()
    assert sweeping.run(api.core, api.tenant) == 0
    assert stands(api, capture)
    clock = api.core.clock
    api.core.clock = lambda: clock() + timedelta(days=1, seconds=1)
    assert sweeping.run(api.core, api.tenant) == 1
    assert not stands(api, capture)


def test_what_still_has_its_key_or_is_locked_stays(api, tmp_path, monkeypatch):
    captures = archived(api, tmp_path)
    have_erased(api.data, captures[WORD])
    api.follow()
    assert Sweeping(NOW).run(api.core, api.tenant) == 0
    run_batch(api.core, api.tenant, today_too=True)
    far = api.core.clock() + timedelta(days=9)
    with monkeypatch.context() as locked:
        locked.setattr("archive_service.disposal.sweeping.locked_until", lambda *_: far)
        assert Sweeping(NOW).run(api.core, api.tenant) == 0
    assert stands(api, captures[WORD])
    assert api.tenant.acts.erasures.deleting == {}


@pytest.mark.parametrize("persisted", [False, True], ids=["not persisted", "but persisted"])
def test_a_fault_at_the_deletion_is_made_good_and_never_an_alarm(api, tmp_path, monkeypatch, persisted):
    capture = erased(api, tmp_path)
    store = type(api.core.raw)
    real = store.delete

    def failing(self, key, version):
        if persisted:
            real(self, key, version)
        raise StoreError("away")

    with monkeypatch.context() as broken:
        broken.setattr(store, "delete", failing)
        with pytest.raises(StoreError):
            Sweeping(NOW).run(api.core, api.tenant)
    assert stands(api, capture) is not persisted
    assert verified(api)[0]
    assert Sweeping(NOW).run(api.core, api.tenant) == 1
    assert verified(api)[0]


def test_tamper_an_object_that_goes_without_the_act_or_comes_back_is_named(api, tmp_path):
    capture = erased(api, tmp_path)
    (path,) = [each for each in objects(api) if capture in each.name]
    kept = path.read_bytes()
    path.unlink()
    ok, said = verified(api)
    assert not ok
    assert capture in said
    path.write_bytes(kept)
    assert Sweeping(NOW).run(api.core, api.tenant) == 1
    path.write_bytes(kept)
    ok, said = verified(api)
    assert not ok
    assert "there again" in said
