"""The Dockerfile passes its linter, and its steps are those that README names and `make test-install` runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not there for this system")
    ran = subprocess.run(
        [hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert ran.stdout + ran.stderr == ""


def installed(text: str) -> list[str]:
    """What each `pip install` of the text installs, a wheel of ours as `.`."""
    steps = re.findall(r"pip install (.*?)(?: \\)?$", text, re.MULTILINE)
    return [step.replace("$(echo dist/nlft-*.whl)", ".").split()[-1].strip('"') for step in steps]


def test_its_steps_are_those_of_the_readme_and_of_the_test() -> None:
    assert installed(TEXT) == ["torch", ".[demo]"]
    assert installed((ROOT / "tests/install.sh").read_text(encoding="utf-8")) == installed(TEXT)
    assert 'pip install ".[demo]"' in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_it_copies_is_there_and_let_through() -> None:
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", TEXT, re.MULTILINE) for word in line.split()]
    assert copied
    let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in let_through
