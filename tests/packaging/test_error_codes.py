"""The list of stable codes that the description carries is what the source raises."""

from archive_service.api.openapi import error_codes
from tests.packaging.error_codes import LIST, codes


def test_the_list_is_what_the_source_says():
    assert LIST.read_text("utf-8").split() == codes(), "python -m tests.packaging.error_codes"


def test_a_code_is_of_a_stable_form():
    words, pattern = error_codes()["anyOf"]
    assert {"auth.required", "not_found", "disposition.nothing", "query.syntax"} <= set(words["enum"])
    assert pattern["pattern"].startswith("^(approval\\.|")
