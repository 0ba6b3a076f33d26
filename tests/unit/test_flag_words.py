"""Every mark that FORMAT.md names has a sentence in every language of the report."""

import re
from pathlib import Path

import pytest

from archive_service.export.words import Words

FORMAT = (Path(__file__).parents[2] / "FORMAT.md").read_text(encoding="utf-8")


def flags() -> list[str]:
    start = FORMAT.index("Words that dialects give")
    told = FORMAT[start : FORMAT.index("\n\n", start)]
    found = [word for word in re.findall(r"`([a-z_]+)`", told) if word not in {"mime"}]
    assert len(found) > 15
    return found


@pytest.mark.parametrize("flag", flags())
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_mark_is_said_in_a_sentence(flag: str, language: str) -> None:
    said = Words(language).flag(flag)
    assert said != Words(language)("flag_other", flag=flag)
    assert said.endswith(".")
