"""The house rules that a reader cannot be asked to check: who imports whom, and no bag of leftovers."""

import ast
import functools
import graphlib
import re
from pathlib import Path

import pytest

import nlft

ROOT = Path(nlft.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What each part imports of the package, besides itself: the arrows of the design, written out. Nothing more is
# permitted than is used, and no arrow runs back.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "processes": {"errors"},
    "spans": {"errors"},
    "progress": {"errors", "processes"},
    "tasks": {"config"},
    "config": {"errors", "files"},
    "core": {"config", "errors"},
    "edits": {"errors", "files"},
    "records": {"edits", "errors", "files"},
    "objectives": {"config", "core", "errors"},
    "prompts": {"config", "errors", "files", "records"},
    "provenance": {"config", "errors", "prompts", "records"},
    "adapter": {"config", "errors", "files", "prompts", "provenance", "records"},
    "demo": {"files", "pipeline", "progress", "records", "saliency_map"},
    "grade": {"answer", "config", "edits", "errors", "files", "progress", "prompts", "records", "tasks"},
    "lm": {"adapter", "config", "core", "errors", "objectives", "processes", "prompts", "records", "spans", "tasks"},
    "answer": {
        "adapter",
        "config",
        "errors",
        "files",
        "lm",
        "processes",
        "progress",
        "prompts",
        "provenance",
        "records",
    },
    "data": {"config", "edits", "errors", "files", "grade", "lm", "progress", "prompts", "records", "spans", "tasks"},
    "evaluate": {
        "answer",
        "config",
        "data",  # to compare what other tools logged
        "errors",
        "files",
        "grade",
        "lm",
        "progress",
        "prompts",
        "provenance",
        "records",
        "tasks",
    },
    "judge": {
        "answer",
        "config",
        "data",
        "edits",
        "errors",
        "files",
        "grade",
        "progress",
        "prompts",
        "records",
        "steps",
        "tasks",
    },
    "steps": {"grade", "records", "spans"},
    "out_of_fold": {
        "answer",
        "config",
        "data",
        "errors",
        "files",
        "lm",
        "processes",
        "progress",
        "provenance",
        "records",
        "train",
    },
    "export": {"adapter", "config", "errors", "evaluate", "lm", "progress", "prompts", "records"},
    "revise": {
        "answer",
        "config",
        "edits",
        "errors",
        "files",
        "grade",
        "lm",
        "progress",
        "prompts",
        "records",
        "steps",
    },
    "saliency_map": {
        "config",
        "core",
        "edits",
        "errors",
        "files",
        "lm",
        "progress",
        "records",
        "score",
        "spans",
    },
    "score": {
        "config",
        "core",
        "errors",
        "files",
        "lm",
        "objectives",
        "processes",
        "progress",
        "prompts",
        "records",
        "spans",
    },
    "train": {
        "adapter",
        "config",
        "core",
        "data",
        "errors",
        "files",
        "grade",
        "lm",
        "objectives",
        "processes",
        "progress",
        "prompts",
        "provenance",
        "records",
        "score",
        "steps",
    },
    "pipeline": {
        "adapter",
        "answer",
        "config",
        "data",
        "edits",
        "errors",
        "evaluate",
        "files",
        "grade",
        "judge",
        "lm",
        "out_of_fold",
        "progress",
        "prompts",
        "provenance",
        "records",
        "revise",
        "saliency_map",
        "score",
        "tasks",
        "train",
    },
    "choose": {
        "config",
        "errors",
        "evaluate",
        "files",
        "grade",
        "lm",
        "pipeline",
        "progress",
        "records",
        "train",
    },
    "cli": {
        "choose",
        "config",
        "data",
        "demo",
        "errors",
        "evaluate",
        "export",
        "files",
        "grade",
        "judge",
        "lm",
        "out_of_fold",
        "pipeline",
        "processes",
        "progress",
        "provenance",
        "records",
        "revise",
        "saliency_map",
        "score",
        "train",
    },
}
# The heavy libraries, and the only parts that may import them.
HOMES = {
    "transformers": {"lm", "train"},
    "peft": {"lm", "train"},
    "trl": {"train", "bench"},
    "accelerate": {"lm", "processes", "train"},
    "matplotlib": {"evaluate", "pipeline", "bench"},
    "openai": {"answer", "judge"},
    "reasoning_gym": {"data", "grade"},
    "typer": {"cli"},
    "bitsandbytes": set(),  # transformers imports it where a model is quantized
}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """Every node of a file's tree, which is parsed once for all tests."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def imports(path: Path) -> list[tuple[int, str]]:
    """Every imported module with its line, those inside functions, and those named as `module:function`, included."""
    found: list[tuple[int, str]] = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            found += [(node.lineno, f"{module}.{alias.name}" if module == "nlft" else module) for alias in node.names]
            # `from nlft.answer import step` takes a module, not the package.
            found += [(node.lineno, m) for alias in node.names if (m := f"{module}.{alias.name}") in MODULES]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAMED.match(node.value):
            found.append((node.lineno, node.value.partition(":")[0]))
    return found


def name(path: Path) -> str:
    """A file's module."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMED = re.compile(r"nlft(\.\w+)+:\w+$")
MODULES = {name(path) for path in FILES}


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


def test_no_more_is_permitted_than_is_used() -> None:
    used: dict[str, set[str]] = {own: set() for own in ALLOWED}
    for path in FILES:
        for _, module in imports(path):
            if module.startswith("nlft.") and part(path) in used:
                used[part(path)].add(module.split(".")[1])
    assert {own: ALLOWED[own] - used[own] for own in ALLOWED if ALLOWED[own] - used[own]} == {}


def test_the_parts_stand_on_one_another_without_a_circle() -> None:
    graphlib.TopologicalSorter(ALLOWED).prepare()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name(path): {module for _, module in imports(path) if module in MODULES} - {name(path)} for path in FILES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("own", ["core", "objectives"])
def test_the_paper_needs_only_torch(own: str) -> None:
    allowed = {"torch", "numpy", "jaxtyping", "lazy_loader", "pydantic", "nlft"}
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
    free = {"__init__", "__main__", "cli", "demo", "bench"}
    assert {part(path) for path in FILES} - ALLOWED.keys() <= free


def test_files_stay_readable() -> None:
    """A file is read in one go: most have under 250 lines, the few longer ones hold one concept, none is a book."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name: length for name, length in lengths.items() if length > 250}
    assert len(long) <= len(FILES) / 15, long
    assert max(lengths.values()) <= 320, long


def test_functions_stay_readable() -> None:
    """Docstring and all, few functions have more than 60 lines."""
    long = {}
    for path in FILES:
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > 60:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert len(long) <= 5, long
    assert max(long.values(), default=0) <= 80, long
