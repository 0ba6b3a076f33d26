"""Legal holds over a real archive: placed, found, locked, counted, released by two; nothing held goes."""

from datetime import timedelta

import pytest

from archive_service.erasing import run_batch
from archive_service.following import parser_pool
from archive_service.model.clock import rfc3339
from archive_service.settings import load
from tests.flow.archive_fixtures import no_settings_around, run
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import mail, taken

__all__ = ["no_settings_around"]


@pytest.fixture(scope="module")
def pool():
    with parser_pool(load(None), 1) as made:
        yield made


@pytest.fixture
def api(tmp_path, pool):
    with RealApi(tmp_path / "archive", pool) as made:
        yield made


def opened(api, name="Affaire"):
    body = {"name": name, "purpose": "litige"}
    return api.call("POST", "/v1/matters", "legal", "zoe", **body).json()["id"]


def asked(api, **more):
    review = rfc3339(api.core.clock() + timedelta(days=90))
    body = {"name": "Contrats", "ground": "litige en cours", "claim": "RG 26/01234", "owner": "zoe"}
    return body | {"review": review} | more


def placed(api, matter, **more):
    answer = api.call("POST", f"/v1/matters/{matter}/holds", "legal", "zoe", **asked(api, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def seen(api, matter, hold):
    api.follow()
    answer = api.call("GET", f"/v1/matters/{matter}/holds/{hold}", "legal", "zoe")
    assert answer.status_code == 200, answer.text
    return answer.json()


def released(api, matter, hold):
    path = f"/v1/matters/{matter}/holds/{hold}/release"
    return api.approved(api.call("POST", path, "legal", "zoe", reason="fini"), "dpo", "paul")


def forget(api, *captures):
    body = {"captures": list(captures), "ground": "request", "basis": "GDPR article 17", "reason": "asked"}
    return api.approved(api.call("POST", "/v1/erasures", "dpo", "paul", **body))


def erased(api):
    api.follow()
    return run_batch(api.core, api.tenant, today_too=True)


def holds_of(api, capture):
    """By the acts, replayed by another process."""
    acts = api.core._tenant(api.tenant.id).acts
    acts.refresh()
    return {hold.name for hold in acts.holds.holds_of(capture)}


def flagged(api, capture):
    """Whether its object bears a hold in the store."""
    (key,) = (
        each.key
        for each in api.core.store.list(f"objects/{api.tenant.id}/")
        if each.key.endswith(f"/{capture}")
    )
    return api.core.store.stat(key)[0][1].hold


def three(api, tmp_path):
    folder = tmp_path / "m"
    mail(folder, "a", "anne@ex.fr", "bob@ex.fr", "contrat un")
    mail(folder, "b", "carla@ex.fr", "bob@ex.fr", "contrat deux")
    mail(folder, "c", "carla@ex.fr", "dan@ex.fr", "paie trois")
    captures = taken(api, folder)
    api.follow()
    return captures


def test_hold_by_query_covers_past_and_future_mail_and_locks_its_objects(api, tmp_path):
    first, second, third = three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    view = seen(api, matter, hold)
    assert view["progress"] | {"rows": 0, "of_rows": 0} == {
        "covered": 2, "locked": 2, "unlocked": 0, "found": True, "complete": True, "rows": 0, "of_rows": 0,
    }  # fmt: skip
    mail(tmp_path / "later", "d", "eve@ex.fr", "fay@ex.fr", "contrat quatre")
    (fourth,) = taken(api, tmp_path / "later")
    assert seen(api, matter, hold)["progress"]["covered"] == 3
    assert [bool(holds_of(api, each)) for each in (first, second, third, fourth)] == [True, True, False, True]
    assert [flagged(api, each) for each in (first, second, third, fourth)] == [True, True, False, True]
    assert run("verify", "--data", api.data).code == 0


def test_hold_keeps_what_somebody_asks_to_be_erased_until_it_is_released_by_two(api, tmp_path):
    first, *_ = three(api, tmp_path)
    matter = opened(api)
    hold = placed(api, matter, query="contrat")
    api.follow()
    forget(api, first)
    outcome = erased(api)
    assert (outcome.erased, list(outcome.kept.values())) == (0, [1])
    released(api, matter, hold)
    api.follow()
    assert not flagged(api, first)
    assert erased(api).erased == 1
    assert run("verify", "--data", api.data).code == 0
