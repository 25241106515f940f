"""What the project's own files say of one another: commands that exist, and the Pythons that are tested."""

import re
import shutil
import subprocess
import sys
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


def test_the_oldest_and_the_newest_dependencies_are_tested_and_the_coverage_is_kept() -> None:
    bounds = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))["jobs"]["bounds"]
    assert bounds["steps"][-1] == {"run": "make ${{ matrix.target }}"}
    oldest, newest, coverage = bounds["strategy"]["matrix"]["include"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (oldest["target"], f">={oldest['python']}") == ("test-lowest", project["requires-python"])
    assert newest["target"] == "test-newest"
    assert coverage["target"] == "coverage"
    assert {each["target"] for each in (oldest, newest, coverage)} <= TARGETS


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("vendor.github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("vendor.citation-file-format", "CITATION.cff"),
    ],
)
def test_files_for_github_fit_their_schemas(schema: str, names: str) -> None:
    """Which come with check-jsonschema; for the rest of a workflow's rules there is actionlint."""
    files = sorted(ROOT.glob(names))
    assert files
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("found", "code", "told"),
    [
        ("echo safe >/dev/null", 0, "no known vulnerabilities"),
        ('shift $(($# - 1)); echo "torch 1.0 CVE-1" >"$1"; exit 1', 1, "torch 1.0 CVE-1"),
        ("echo 'no route to host' >&2; exit 1", 69, "nothing was checked: the database"),
    ],
)
def test_an_audit_says_what_it_found_or_that_it_could_not_look(
    tmp_path: Path, found: str, code: int, told: str
) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/audit.sh", tmp_path / "tests")
    audit = tmp_path / ".venv/audit/bin/pip-audit"
    audit.parent.mkdir(parents=True)
    audit.write_text(f"#!/bin/sh\n{found}\n", encoding="utf-8")
    audit.chmod(0o755)
    ran = subprocess.run(["sh", tmp_path / "tests/audit.sh"], capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert told in ran.stdout + ran.stderr


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
