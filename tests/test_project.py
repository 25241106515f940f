"""What the project's own files say of one another: commands that exist, and the Pythons that are tested."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import nlft

ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/test.yml"])
def test_every_make_command_exists(name: str) -> None:
    found = set(re.findall(r"(?:`|^\s*(?:- run: )?)make ([a-z-]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
    assert found
    assert found <= TARGETS


def test_make_help_lists_every_target() -> None:
    described = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(described) == TARGETS


def test_the_pythons_that_are_promised_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = {each.rpartition(" ")[2] for each in project["classifiers"] if "Python :: 3." in each}
    tested = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))["jobs"]["test"]["strategy"][
        "matrix"
    ]["python"]
    assert promised <= set(tested)
    assert project["requires-python"] == f">={tested[0]}"


def test_a_key_of_the_index_is_nowhere_and_only_publishing_may_ask_for_one() -> None:
    assert WORKFLOWS
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert "secrets." not in text
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"}
        raised = {name for name, job in workflow["jobs"].items() if "permissions" in job}
        assert raised <= {"publish"}


def test_the_version_stands_in_one_place_and_the_others_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    releases = re.findall(
        r"^## (\d[\d.]*) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert releases[0] == (nlft.__version__, str(cited["date-released"]))
    assert cited["version"] == nlft.__version__
