"""What the service's processes write to their logs."""

import subprocess
import sys

import pytest

SAYS = """
import logging, sys
from archive_service.serving.child import log_to_stderr
log_to_stderr("follower", sys.argv[1])
for name in ("botocore.parsers", "elastic_transport.transport", "urllib3.connectionpool", "sqlalchemy.engine.Engine"):
    for level in (logging.DEBUG, logging.INFO):
        logging.getLogger(name).log(level, "a body, a header")
    logging.getLogger(name).error("a library's error")
for name in ("archive_service.serving.follower", "ingest.smtp", "retention.erasure", "search.follower"):
    logging.getLogger(name).debug("ours at debug")
    logging.getLogger(name).warning("ours at warning")
"""


@pytest.mark.parametrize(
    ("level", "ours"), [("DEBUG", 8), ("INFO", 4), ("WARNING", 4), ("ERROR", 0)], ids=lambda value: str(value)
)
def test_no_level_lets_libraries_show_what_they_send(level, ours):
    done = subprocess.run([sys.executable, "-c", SAYS, level], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert "a body" not in done.stderr
    assert sum("ours at" in line for line in lines) == ours
    assert sum("a library's error" in line for line in lines) == 4
    assert all("follower[" in line for line in lines)
