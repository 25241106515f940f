"""The house rules that a reader cannot be asked to check: who imports whom, and no bag of leftovers."""

import ast
from pathlib import Path

import pytest

import nlft

ROOT = Path(nlft.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part may import of the package, besides itself; the arrows of the design, written out.
FOUNDATION = {"records", "files", "errors", "config", "progress", "provenance"}
PIPELINE = FOUNDATION | {"core", "prompts", "data", "grade"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "config": {"errors", "files"},
    "files": {"errors"},
    "records": {"errors", "files"},
    "provenance": {"config", "errors", "records"},
    "core": {"config", "errors"},
    "objectives": {"core", "errors"},
    "prompts": {"config", "errors"},
    "lm": FOUNDATION | {"core", "objectives", "prompts"},
    "data": FOUNDATION | {"prompts", "lm", "grade"},
    "grade": FOUNDATION,
    "score": FOUNDATION | {"core", "objectives", "lm", "prompts", "grade"},
    "train": FOUNDATION | {"core", "objectives", "lm", "prompts", "score", "grade"},
    "answer": PIPELINE | {"lm", "judge"},
    "judge": PIPELINE | {"lm", "answer"},
    "evaluate": PIPELINE | {"lm", "answer"},
    "saliency_map": FOUNDATION | {"core", "score", "lm", "prompts"},
    # A recipe is a list of command lines: pipeline stands on cli, whose verbs run and experiment call it.
    "pipeline": PIPELINE | {"objectives", "lm", "score", "train", "answer", "judge", "evaluate", "page", "cli"},
}
# The heavy libraries, and the only parts that may import them.
HOMES = {
    "transformers": {"lm", "train"},
    "peft": {"lm", "train"},
    "trl": {"train", "bench"},
    "accelerate": {"lm", "train"},
    "matplotlib": {"evaluate", "pipeline", "bench"},
    "openai": {"answer", "judge"},
    "reasoning_gym": {"data", "grade"},
    "typer": {"cli"},
}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """Every imported module with its line, those inside functions included."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            found += [(node.lineno, f"{module}.{alias.name}" if module == "nlft" else module) for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    own = part(path)
    for line, module in imports(path):
        top, _, rest = module.partition(".")
        if top == "nlft" and own in ALLOWED:
            target = rest.partition(".")[0]
            allowed = ALLOWED[own] | {own, "__version__", ""}
            assert target in allowed, f"{path}:{line}: {own} may not import nlft.{target}"
        if top in HOMES:
            assert own in HOMES[top], f"{path}:{line}: only {sorted(HOMES[top])} may import {top}"


@pytest.mark.parametrize("own", ["core", "objectives"])
def test_the_paper_needs_only_torch(own: str) -> None:
    allowed = {"torch", "numpy", "jaxtyping", "lazy_loader", "nlft"}
    import sys

    for path in FILES:
        if part(path) == own:
            tops = {module.partition(".")[0] for _, module in imports(path)}
            assert tops <= allowed | set(sys.stdlib_module_names), path


def test_no_bag_of_leftovers() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [path for path in FILES if path.stem in forbidden or path.parent.name in forbidden]


def test_every_part_has_its_rule() -> None:
    """A new folder gets its line above, or it could import anything."""
    free = {"__init__", "cli", "demo", "bench"}
    assert {part(path) for path in FILES} - ALLOWED.keys() <= free


def test_files_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Most files have under 250 lines; the few that have more are told, and none is a book."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name: length for name, length in lengths.items() if length >= 250}
    with capsys.disabled():
        print(f" [250 lines or more: {long or 'none'}]", end="")
    assert len(long) <= len(FILES) / 5
    assert max(lengths.values()) < 600
