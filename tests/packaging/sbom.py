"""``make sbom``: a CycloneDX 1.6 bill of what runs, as the lock file has it. No network, no clock: the same lock gives
the same bytes.

What runs is what ``dependencies`` of pyproject.toml need, through the ``# via`` notes of the lock file; tools of
development are left out. Hashes are those of the files that pip may install.
"""

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562 section 6.6, URLs


@dataclass
class Pin:
    """One locked package. ``via``: which packages ask for it; ``marker``: where it is installed alone (PEP 508)."""

    name: str
    version: str
    marker: str | None
    hashes: list[str] = field(default_factory=list)
    via: set[str] = field(default_factory=set)

    @property
    def purl(self) -> str:
        """Its package URL; also its reference within the bill."""
        return f"pkg:pypi/{self.name}@{self.version}"


def normal(name: str) -> str:
    """A project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, Pin]:
    """The packages of a lock file, by normal name. Raises ValueError for a line that is not understood."""
    found: dict[str, Pin] = {}
    pin: Pin | None = None
    for line in lock.splitlines():
        text = line.strip()
        if not text:
            continue
        if not line.startswith((" ", "#")):
            match = _PIN.fullmatch(text)
            if match is None:
                raise ValueError(f"not a pinned package: {text}")
            pin = Pin(normal(match["name"]), match["version"], match["marker"])
            found[pin.name] = pin
        elif pin is not None:
            _detail(pin, text)
    return found


def _detail(pin: Pin, text: str) -> None:
    if (match := _HASH.search(text)) is not None:
        pin.hashes.append(match[1])
    elif text.startswith("#") and (name := text.removeprefix("#").strip().removeprefix("via").strip()):
        pin.via.add(normal(name.split(" ")[0]))


def running(known: Mapping[str, Pin], roots: Iterable[str]) -> list[Pin]:
    """Those of the packages that the roots need, themselves included, by name. Raises KeyError for a root that is not
    locked."""
    reached: set[str] = set()
    ahead = [known[root].name for root in roots]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += [pin.name for pin in known.values() if name in pin.via]
    return [known[name] for name in sorted(reached)]


def bill(pyproject: str, lock: str) -> dict[str, Any]:
    """The bill (CycloneDX 1.6), JSON-ready."""
    project = tomllib.loads(pyproject)["project"]
    known = pins(lock)
    roots = sorted(normal(re.split(r"[\s\[<>=!~;]", each, maxsplit=1)[0]) for each in project["dependencies"])
    parts = running(known, roots)
    ours = f"pkg:pypi/{normal(project['name'])}@{project['version']}"
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": normal(project["name"]),
                "version": project["version"],
                "purl": ours,
            }
        },
        "components": [_component(pin) for pin in parts],
        "dependencies": [
            {"ref": ours, "dependsOn": [known[root].purl for root in roots]},
            *(
                {"ref": pin.purl, "dependsOn": [each.purl for each in parts if pin.name in each.via]}
                for pin in parts
            ),
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(body, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "serialNumber": f"urn:uuid:{serial}",
    } | body


def _component(pin: Pin) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "purl": pin.purl,
        "properties": [
            *({"name": "archive-service:file:sha256", "value": each} for each in pin.hashes),
            *([{"name": "archive-service:marker", "value": pin.marker}] if pin.marker else []),
        ],
    }
    return said | ({"licenses": named} if (named := _licences(pin.name)) else {})


def _licences(name: str) -> list[dict[str, Any]]:
    """What the installed package says of itself; nothing where it is not installed here."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return []
    if "License-Expression" in said:
        return [{"expression": said["License-Expression"]}]
    classified = [
        each.rpartition(" :: ")[2]
        for each in said.get_all("Classifier", [])
        if each.startswith("License :: ")
    ]
    return [{"license": {"name": each}} for each in sorted(set(classified) - {"OSI Approved"})]


def main() -> int:
    """Write the bill to the file named, or to standard output."""
    made = bill((ROOT / "pyproject.toml").read_text("utf-8"), (ROOT / "requirements.lock").read_text("utf-8"))
    text = json.dumps(made, indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
