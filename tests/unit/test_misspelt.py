"""Variables that look like settings and are none are named, with the setting that was meant."""

import pytest

from archive_service.misspelt import misspelt, said
from archive_service.settings import Settings


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ARCHIVE_STROE", "ARCHIVE_STORE"),
        ("ARCHIVE_S3_BUCKETT", "ARCHIVE_S3_BUCKET"),
        ("ARCHIVE_CATALOG_URI", "ARCHIVE_CATALOG_URL"),
        ("archive_wrok", "ARCHIVE_WORK"),
        ("ARCHIVE_SOMETHING_ELSE_ALTOGETHER", None),
    ],
)
def test_a_misspelt_one_is_named(name: str, nearest: str | None) -> None:
    assert misspelt([name, "PATH"]) == {name: nearest}
    assert said(name, nearest) == f"{name} is no setting" + (f"; {nearest} is" if nearest else "")


def test_settings_tests_and_service_links_are_not() -> None:
    assert misspelt("ARCHIVE_" + name.upper() for name in Settings.model_fields) == {}
    assert (
        misspelt(["ARCHIVE_REQUIRE_SERVICES", "ARCHIVE_TEST_PG_URL", "ARCHIVE_READY_PIPE", "archive_store"])
        == {}
    )
    links = [
        *("ARCHIVE_SERVICE_HOST", "ARCHIVE_SMTP_SERVICE_PORT", "ARCHIVE_SMTP_SERVICE_PORT_SMTP"),
        *("ARCHIVE_SMTP_PORT", "ARCHIVE_SMTP_PORT_25_TCP", "ARCHIVE_SMTP_PORT_25_TCP_ADDR"),
    ]
    assert misspelt(links) == {}
