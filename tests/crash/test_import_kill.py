"""``kill -9`` of an import at random moments, then again: at the end every item is there once, byte for byte."""

import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from tests.flow.importing import made, once

PROGRAM = Path(sys.executable).parent / "archive-service"
KILLS = 60 if os.environ.get("ARCHIVE_TEST_FULL") else 6
ITEMS = 600


def write_mails(folder: Path, chance: random.Random) -> dict[str, bytes]:
    found = {}
    folder.mkdir()
    for number in range(ITEMS):
        body = chance.randbytes(chance.choice([10, 3000, 30_000])).hex()
        name = f"{number:04}.eml"
        found[name] = f"Message-ID: <{number}@example.fr>\r\nSubject: {number}\r\n\r\n{body}\r\n".encode()
        (folder / name).write_bytes(found[name])
    return found


def test_an_import_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    chance = random.Random(20261126)
    data = made(tmp_path / "archive")
    mails = write_mails(tmp_path / "mails", chance)
    report = tmp_path / "report.jsonl"
    command = [PROGRAM, "import", "eml", tmp_path / "mails", "--tenant", "acme", "--data", data, "--json"]
    reached = []
    for number in range(KILLS):
        report.unlink(missing_ok=True)
        running = subprocess.Popen(
            [*command, "--report", report], stdout=subprocess.DEVNULL, start_new_session=True
        )
        wanted = chance.randrange(1, ITEMS // KILLS * 2)
        taken = 0
        while taken < wanted and running.poll() is None:  # the moment is one of the import's own progress
            threading.Event().wait(0.001)
            taken = report.read_bytes().count(b'"taken"') if report.exists() else 0
        threading.Event().wait(chance.uniform(0, 0.02))  # ... and a random one after it
        running.kill()
        running.wait()
        if number % 3 == 2:
            shutil.rmtree(data / "run" / "importing")  # the journal is lost with it
        reached.append(len(once(data)))
    assert sum(0 < count < ITEMS for count in reached) > 1, "the kills came too early or too late"
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert once(data) == mails
    verified = subprocess.run([PROGRAM, "verify", "--data", data], capture_output=True, check=False)
    assert verified.returncode == 0, verified.stdout
