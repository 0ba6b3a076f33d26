"""The recipient inside the archive's address, as Postfix' ``recipient_bcc_maps`` writes it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.subaddress import split_subaddress

OWN = "k3jx7q@archive.example.fr"
# The map that the administrator's page gives: pcre:/^(.*)@(.*)$/ SECRET+$1=$2@ARCHIVE
MAP = re.compile(r"^(.*)@(.*)$", re.DOTALL)


def mapped(recipient: str) -> str:
    found = MAP.match(recipient)
    assert found is not None
    return f"k3jx7q+{found.group(1)}={found.group(2)}@archive.example.fr"


@pytest.mark.parametrize(
    ("address", "original"),
    [
        ("k3jx7q+bob=example.fr@archive.example.fr", "bob@example.fr"),
        ("k3jx7q+bob+lists=example.fr@archive.example.fr", "bob+lists@example.fr"),
        ("k3jx7q+a=b=example.fr@archive.example.fr", "a=b@example.fr"),
        ("K3JX7Q+Bob=Example.FR@archive.example.fr", "Bob@Example.FR"),
        ("k3jx7q+hélène=exemple.fr@archive.example.fr", "hélène@exemple.fr"),
        ('"k3jx7q+the boss=example.fr"@archive.example.fr', "the boss@example.fr"),
        ('"k3jx7q+a\\"b=example.fr"@archive.example.fr', 'a"b@example.fr'),
        ("k3jx7q+bob=[192.0.2.1]@archive.example.fr", "bob@[192.0.2.1]"),
        ("k3jx7q+bob@archive.example.fr", None),
        ("k3jx7q+bob=@archive.example.fr", None),
        ("k3jx7q+=example.fr@archive.example.fr", None),
        ("+bob=example.fr@archive.example.fr", None),
        ("k3jx7q@archive.example.fr", None),
        ("k3jx7q+bob=example.fr", None),
        ("", None),
        ("@", None),
    ],
)
def test_sub_addresses(address: str, original: str | None) -> None:
    own, found = split_subaddress(address)
    assert found == original
    assert own.lower() == (OWN if original is not None else address.lower())


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters='"'), min_size=1, max_size=64),
    st.from_regex(r"[a-z0-9][a-z0-9.-]{0,40}", fullmatch=True),
)
def test_what_the_map_writes_is_read_back(user: str, domain: str) -> None:
    assert split_subaddress(mapped(f"{user}@{domain}")) == (OWN, f"{user}@{domain}")


@given(st.text(max_size=60))
def test_any_text_is_split_or_left_whole(address: str) -> None:
    own, original = split_subaddress(address)
    assert (original is None) == (own == address)


@pytest.mark.parametrize("unit", ["+", "=", '"', "\\", "@", "+a=b", '"+\\'])
def test_long_addresses_cost_no_time(unit: str) -> None:
    split_subaddress(unit * 200_000 + "@archive.example.fr")
