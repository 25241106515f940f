"""What the package promises from outside: its names, and that looking at it costs nothing."""

import ast
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nlft

HEAVY = ["torch", "transformers", "trl", "peft", "datasets", "matplotlib", "scipy", "openai", "numpy", "pandas"]


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter holds after running `code`."""
    script = f"import sys\n{code}\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()[1:])


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import nlft") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["evalute"], ["evaluate", "--modle", "x"]])
def test_the_command_line_loads_nothing_heavy(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    start = time.perf_counter()
    assert loaded_by(f"from nlft.cli.app import run\nrun({arguments!r})") == set()
    with capsys.disabled():
        print(f" [nlft {' '.join(arguments)}: {time.perf_counter() - start:.2f} s]", end="")


def test_every_verbs_help_loads_nothing_heavy() -> None:
    from nlft.cli.app import VERBS

    code = "from nlft.cli.app import run\n" + "\n".join(f"run([{verb!r}, '--help'])" for verb in VERBS)
    assert loaded_by(code) == set()


PUBLIC = {
    "Allocation", "Attempt", "Graded", "Judged", "Loss", "NLFTConfig", "NLFTError", "NLFTTrainer", "Problem",
    "SaliencySettings", "Scored", "Verdict", "allocate", "example_loss", "load_model", "read_records", "write_records",
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    """Written out here once more: a name that is added or lost by accident is noticed."""
    assert set(nlft.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(nlft, name).__name__ == name
    assert name in dir(nlft)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_here"):
        nlft.nothing_here  # noqa: B018


MODULES = [module.name for module in pkgutil.walk_packages(nlft.__path__, "nlft.") if "__main__" not in module.name]


@pytest.mark.parametrize("name", MODULES)
def test_all_is_true(name: str) -> None:
    """Whatever `__all__` lists exists, stands once and in order."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed)
    for each in listed:
        assert hasattr(module, each), f"{name}.{each}"


SCRIPTS = [path for folder in ("recipes", "benchmarks") for path in Path(__file__).parents[1].glob(f"{folder}/**/*.py")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_find_what_they_import(path: Path) -> None:
    """Those beside the package, which no test runs whole, take nothing from it that is gone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nlft":
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), (
                    f"{node.lineno}: {name}"
                )
