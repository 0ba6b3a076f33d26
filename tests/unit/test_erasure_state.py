"""The state of erasures as the acts tell it, where an order to erase ends."""

import pytest

from archive_service.ledger.erasures import Erasures, freed_of
from archive_service.model.errors import Tampered
from archive_service.model.grounds import KeepGround

PLACE = {"log": "a" * 20 + "/capture-1", "seq": 1, "capture": "c1"}


def asked(erasure, ground):
    return {"act": "erasure.ask", "erasure": erasure, "ground": ground, "captures": [PLACE]}


def ended(**more):
    return {"act": "order.end", "order": "o1", "erasure": "e1", "left": ["c1"], **more}


def after(*acts):
    state = Erasures()
    for position, act in enumerate(acts):
        state.take(act, position)
    return state


def test_order_that_ends_gives_back_what_nobody_else_asked_for():
    state = after(asked("e1", "order"))
    assert state.lapses("c1", "e1") and not state.lapses("c1", "e2")
    state.take(ended(free=[PLACE]), 1)
    assert (state.barred("c1"), state.left, state.keeps_of("c1", "2026")) == (False, set(), [])


def test_order_of_an_older_release_leaves_it_barred_and_kept():
    state = after(asked("e1", "order"), ended())
    assert (state.barred("c1"), state.keeps_of("c1", "2026")) == (True, [KeepGround.ORDER])


def test_gdpr_article_17_a_request_before_the_order_counts_again():
    state = after(asked("e0", "request"), asked("e1", "order"))
    assert not state.lapses("c1", "e1")
    state.take(ended(free=[]), 2)
    assert (state.asked["c1"].erasure, state.asked["c1"].position) == ("e0", 2)


@pytest.mark.parametrize("free", [[{"log": "?"}], [3], [{**PLACE, "seq": "x"}]])
def test_a_malformed_end_is_tampered_with(free):
    with pytest.raises(Tampered):
        list(freed_of(ended(free=free)))
