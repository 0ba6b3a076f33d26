"""A SoftHSM2 token for tests (Debian: softhsm2). The library reads its configuration once a process: one folder of
tokens and one token serve all tests, and what separates these is the prefix of their labels.

``ARCHIVE_TEST_PKCS11_MODULE``, ``_TOKEN`` and ``_PIN`` name a token that is used instead.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archive_service.vault.kms.pkcs11_session import Token, TokenAddress
from tests.services.tools import find_tool, missing

_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
_PIN = "87654321"


@contextmanager
def softhsm() -> Iterator[TokenAddress]:
    """A token with a user's PIN. Skips where there is none."""
    given = os.environ.get("ARCHIVE_TEST_PKCS11_MODULE")
    if given:
        yield TokenAddress(
            given, os.environ["ARCHIVE_TEST_PKCS11_TOKEN"], os.environ["ARCHIVE_TEST_PKCS11_PIN"]
        )
        return
    module = next((path for path in _MODULES if Path(path).exists()), None)
    if module is None or find_tool("softhsm2-util") is None:
        missing("SoftHSM2", "apt-get install softhsm2")
    with tempfile.TemporaryDirectory(prefix="softhsm-") as folder:
        before = os.environ.get("SOFTHSM2_CONF")
        os.environ["SOFTHSM2_CONF"] = _configuration(Path(folder))
        address = TokenAddress(module, "archive-tests", _PIN)
        try:
            new_token(address.token)
            yield address
        finally:
            Token(address).close()
            os.environ.pop("SOFTHSM2_CONF")
            if before is not None:
                os.environ["SOFTHSM2_CONF"] = before


def _configuration(folder: Path) -> str:
    (folder / "tokens").mkdir()
    file = folder / "softhsm2.conf"
    file.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    return str(file)


def tokens_folder() -> Path:
    """Where the tokens lie, for tests that take them away."""
    return Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"


def new_token(label: str) -> None:
    """Initialise another token in the same folder, with the same PIN."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", _PIN],
        check=True,
        capture_output=True,
        timeout=60,
    )
