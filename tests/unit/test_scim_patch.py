"""SCIM's filters, paths and patches as parsers: they read, or say why not, and never anything else."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.directory.scim_patch import patched
from archive_service.directory.scim_paths import Compared, Path, read_filter, read_path
from archive_service.model.errors import Invalid

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('userName eq "a"', [Compared("username", "a")]),
        ('USERNAME EQ "a b" AND active eq True', [Compared("username", "a b"), Compared("active", True)]),
        ('emails[type eq "work"].value eq "x@y"', [Compared("emails.value", "x@y")]),
        (r'displayName eq "a \"b\" é"', [Compared("displayname", 'a "b" é')]),
    ],
)
def test_a_filter_is_read(text: str, wanted: list[Compared]) -> None:
    assert read_filter(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("active", Path("", "active", (), "")),
        ("name.givenName", Path("", "name", (), "givenname")),
        ('emails[type eq "work"].value', Path("", "emails", (Compared("type", "work"),), "value")),
        (f"{ENTERPRISE}:department", Path(ENTERPRISE, "department", (), "")),
    ],
)
def test_a_path_is_read(text: str, wanted: Path) -> None:
    assert read_path(text) == wanted


@given(st.text(max_size=80) | st.from_regex(r'[a-z.]{1,9}(\[[a-z]+ eq "[^"]*"\])?(\.[a-z]+)?( eq ".*")?'))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read, code in ((read_filter, "scim.invalidFilter"), (read_path, "scim.invalidPath")):
        try:
            read(text)  # type: ignore[operator]
        except Invalid as error:
            assert error.code == code


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["active", "emails", "name", "name.givenName", 'emails[type eq "work"].value', "x", ""]
)
operations = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "Replace", "remove", "x"]),
        "path": names | st.text(max_size=6) | st.none(),
    },
    optional={"value": json},
)


@given(st.lists(operations | json, max_size=4))
def test_any_patch_makes_a_resource_or_is_refused_and_leaves_the_old_one_alone(each: list[Any]) -> None:
    resource = {
        "active": True,
        "emails": [{"type": "work", "value": "a@ex.fr"}],
        "name": {"givenName": "Anne"},
    }
    before = copy.deepcopy(resource)
    try:
        made = patched(resource, {"Operations": each})
    except Invalid as error:
        assert error.code.startswith("scim.")
    else:
        assert isinstance(made, dict)
    assert resource == before
