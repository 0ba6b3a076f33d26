"""What tests of importers share: an archive with a tenant, the command, and what is in the archive afterwards."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from archive_service.bootstrap import open_core
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader, logs
from archive_service.settings import load
from tests.flow.archive_fixtures import Said, run


def made(data: Path) -> Path:
    """A new archive with the tenant acme."""
    assert run("init", "--data", data, "--tenant", "acme").code == 0
    return data


def imported(data: Path, *arguments: object) -> Said:
    """``import --json`` into acme; whatever it says, its exit code fits."""
    said = run("import", *arguments, "--tenant", "acme", "--data", data, "--json")
    if "error" not in said.answer:
        assert said.code == (1 if said.answer["failed"] else 0)
    return said


def counts(said: Said) -> tuple[int, int, int]:
    """How many were taken, there already, and failed."""
    return said.answer["imported"], said.answer["already"], said.answer["failed"]


def held(data: Path) -> list[tuple[str, bytes]]:
    """Origin and bytes of every imported capture, checked against the ledger, in their order."""
    core = open_core(load(data=data))
    try:
        (tenant,) = core.tenants()
        found = []
        for log in logs(core.store, tenant.id):
            for entry in LogReader(core.store, log).entries() if log.kind == "capture" else []:
                if entry.type == "capture":
                    opened = open_capture(core.store, tenant.keyring, log, entry.fields)
                    found.append((str(json.loads(opened.record).get("origin")), opened.raw))
        return found
    finally:
        core.close()


def once(data: Path) -> dict[str, bytes]:
    """``held``, each item in it once."""
    found = held(data)
    assert max(Counter(found).values(), default=1) == 1
    assert len(dict(found)) == len(found)
    return dict(found)


def lines(path: Path) -> list[dict[str, Any]]:
    """A report."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
