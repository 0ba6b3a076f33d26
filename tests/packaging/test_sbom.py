"""The bill of materials names what runs, all of it, and nothing else."""

import tomllib

import pytest

from tests.packaging.sbom import ROOT, bill, normal, pins, running

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
TINY = """\
direct==1.0 ; sys_platform == 'linux' \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
    # via ours (pyproject.toml)
Below_it==2.0 \\
    --hash=sha256:{0}
    # via
    #   direct
    #   tool
tool==3.0 \\
    --hash=sha256:{0}
    # via ours (pyproject.toml)
""".format("a" * 64, "b" * 64)


def test_a_lock_file_is_read_whole():
    found = pins(TINY)
    assert {name: pin.version for name, pin in found.items()} == {
        "direct": "1.0",
        "below-it": "2.0",
        "tool": "3.0",
    }
    assert found["direct"].marker == "sys_platform == 'linux'"
    assert found["direct"].hashes == ["a" * 64, "b" * 64]
    assert found["below-it"].via == {"direct", "tool"}


def test_what_runs_is_what_the_roots_need():
    assert [pin.name for pin in running(pins(TINY), ["direct"])] == ["below-it", "direct"]


def test_a_line_that_is_not_understood_and_a_root_that_is_not_locked_are_faults():
    with pytest.raises(ValueError, match="not a pinned package"):
        pins("direct>=1\n")
    with pytest.raises(KeyError):
        running(pins(TINY), ["gone"])


def test_the_bill_names_every_package_that_runs_and_no_tool():
    made = bill(PYPROJECT, LOCK)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    named = {each["name"] for each in made["components"]}
    project = tomllib.loads(PYPROJECT)["project"]
    direct = {
        normal(each.split(">")[0].split("[")[0].split("=")[0].strip()) for each in project["dependencies"]
    }
    assert direct <= named
    assert "starlette" in named  # by way of fastapi
    assert not named & {"pytest", "ruff", "mypy", "hypothesis", "moto"}
    for each in made["components"]:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        assert any(one["name"] == "archive-service:file:sha256" for one in each["properties"]), each["name"]


def test_every_reference_of_the_bill_is_to_something_in_it_and_it_is_the_same_each_time():
    made = bill(PYPROJECT, LOCK)
    refs = {made["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in made["components"])}
    assert {each["ref"] for each in made["dependencies"]} == refs
    assert all(set(each["dependsOn"]) <= refs for each in made["dependencies"])
    assert made == bill(PYPROJECT, LOCK)
    assert (
        made["serialNumber"] != bill(PYPROJECT, LOCK.replace("starlette==", "starlette==9"))["serialNumber"]
    )
