"""``make demo`` as the README tells it, short of the set-up that has been done already."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_demo_proves_every_step_and_ends_with_zero() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify-bundle: ok=True" in done.stdout
    assert "verify.py (standard library and openssl only): OK" in done.stdout
    assert "clean=True" in done.stdout
    assert "an object does not match the digest in its entry" in done.stdout
