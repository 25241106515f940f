"""The recipes that come with the package: next to the source in a checkout, inside the package in a wheel."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import nlft
from nlft.config import did_you_mean
from nlft.errors import ConfigError


@dataclass(frozen=True)
class Shipped:
    """A recipe's folder."""

    folder: Path

    @property
    def name(self) -> str:
        """Its name in `nlft recipes`."""
        return self.folder.name

    @property
    def files(self) -> list[Path]:
        """Its YAML files."""
        return sorted(self.folder.glob("*.yaml"))

    @property
    def title(self) -> str:
        """The first line of its README."""
        lines = (self.folder / "README.md").read_text(encoding="utf-8").splitlines()
        return lines[0].lstrip("# ") if lines else ""


def shipped_recipes() -> list[Shipped]:
    """Every recipe, by name; a folder of scripts, without a YAML file, is none."""
    folders = [Shipped(path.parent) for path in sorted(_home().glob("*/README.md"))]
    return [recipe for recipe in folders if recipe.files]


def copy_recipe(name: str, target: Path) -> list[Path]:
    """Copy a recipe's YAML files and README to a new folder, and the data it reads, with its licence, next to that folder.

    Raises:
        ConfigError: for an unknown name, or an existing folder.
    """
    known = {recipe.name: recipe for recipe in shipped_recipes()}
    if name not in known:
        raise ConfigError(f'there is no recipe "{name}"', remedy=did_you_mean(name, known))
    if target.exists():
        raise ConfigError("this already exists", file=target, remedy="choose another folder with -o")
    target.mkdir(parents=True)
    copied = [Path(shutil.copy(path, target)) for path in [*known[name].files, known[name].folder / "README.md"]]
    for data in sorted(path for path in _home().iterdir() if path.suffix in (".json", ".jsonl")):
        if any(data.name in path.read_text(encoding="utf-8") for path in copied if path.suffix == ".yaml"):
            copied.append(Path(shutil.copy(data, target.parent / data.name)))
    if any(path.suffix == ".jsonl" for path in copied):
        copied.append(Path(shutil.copy(_home() / "DATA.md", target.parent / "DATA.md")))
    if (own := known[name].folder / "data").is_dir():
        shutil.copytree(own, target / "data", ignore=shutil.ignore_patterns("__pycache__"))
        copied += sorted((target / "data").iterdir())
    return copied


def _home() -> Path:
    package = Path(nlft.__file__).parent
    return next(path for path in (package / "recipes", package.parents[1] / "recipes") if path.is_dir())
