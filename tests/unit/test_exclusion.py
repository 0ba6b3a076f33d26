"""Whose mail was never to be archived: by internal parties alone, whatever else a message names."""

from hypothesis import given
from hypothesis import strategies as st

from archive_service.ledger.exclusions import ExclusionList, Exclusions
from retention.exclusion import Excluded, judge

DOCTOR = ExclusionList(
    "x1", "médecin", "L4624-8", frozenset({"dr@ex.fr", "soins@ex.fr"}), frozenset({"ex.fr"}), "k1"
)
UNION = ExclusionList("x2", "syndicat", "L2142-6", frozenset({"cgt@ex.fr"}), frozenset({"ex.fr"}), "k2")

address = st.sampled_from(
    [
        "dr@ex.fr",
        "soins@ex.fr",
        "cgt@ex.fr",
        "a@ex.fr",
        "b@ex.fr",
        "x@dehors.fr",
        "y@ailleurs.de",
        "DR@EX.FR",
        "dr+rdv@ex.fr",
    ]
)


def parsed(sender: str | None, *to: str, mailbox: str | None = None) -> list[str]:
    return [each for each in (sender, *to, mailbox) if each]


def test_mail_between_excluded_parties_and_outsiders_is_withdrawn() -> None:
    assert judge(parsed("dr@ex.fr", "patient@dehors.fr"), [DOCTOR]) == Excluded(None)
    assert judge(parsed("patient@dehors.fr", "Dr@EX.fr", "soins+x@ex.fr"), [DOCTOR]) == Excluded(None)
    assert judge(parsed("cgt@ex.fr", "dr@ex.fr"), [DOCTOR, UNION]) == Excluded(None)


def test_mail_with_another_internal_party_is_sealed() -> None:
    assert judge(parsed("a@ex.fr", "dr@ex.fr"), [DOCTOR]) == Excluded("k1")
    assert judge(parsed("dr@ex.fr", "x@dehors.fr", mailbox="a@ex.fr"), [DOCTOR]) == Excluded("k1")


def test_other_mail_is_archived() -> None:
    assert judge(parsed("a@ex.fr", "b@ex.fr"), [DOCTOR, UNION]) is None
    assert judge(parsed("x@dehors.fr", "dr@ex.fr.dehors.fr"), [DOCTOR]) is None
    assert judge(parsed(None), [DOCTOR]) is None
    assert judge(parsed("dr@ex.fr"), []) is None


@given(st.none() | address, st.lists(address, max_size=5), st.permutations([DOCTOR, UNION]))
def test_what_is_judged_follows_from_the_internal_parties(
    sender: str | None, to: list[str], lists: list[ExclusionList]
) -> None:
    judged = judge(parsed(sender, *to), lists)
    named = {each.lower().replace("+rdv", "") for each in [sender, *to] if each}
    internal = {each for each in named if each.endswith("@ex.fr")}
    excluded = internal & (DOCTOR.addresses | UNION.addresses)
    if not excluded:
        assert judged is None
    elif internal == excluded:
        assert judged == Excluded(None)
    else:
        assert judged is not None
        assert judged.compartment in {"k1", "k2"}
    assert judge(parsed(sender, *reversed(to)), list(reversed(lists))) == judged


def test_a_list_of_one_source_is_for_it_alone_and_ends() -> None:
    state = Exclusions()
    fields = {"name": "n", "basis": "b", "addresses": ["dr@ex.fr"], "domains": ["ex.fr"], "compartment": "k1"}
    assert state.take({"act": "exclusion.set", "exclusion": "x1", **fields, "sources": ["s1"]}, 1)
    assert [each.id for each in state.of("s1")] == ["x1"]
    assert state.of("s2") == []
    assert state.take({"act": "exclusion.end", "exclusion": "x1"}, 2)
    assert state.of("s1") == []
    assert not state.take({"act": "bates.reserve"}, 3)
