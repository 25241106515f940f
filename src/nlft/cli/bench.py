"""`nlft bench`: speed and memory beside what a user would pick instead, from a checkout of the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from nlft.cli.options import make_app

app = make_app()


@app.command()
def bench(
    parts: Annotated[list[str] | None, typer.Argument(help="Parts, such as trl or memory; all where none.")] = None,
) -> None:
    """Run the benchmarks; nothing else should run on the machine meanwhile."""
    from nlft.errors import ConfigError

    root = Path(__file__).parents[3]
    if not (root / "benchmarks" / "__main__.py").exists():
        raise ConfigError(
            "the benchmarks are part of the project's repository, not of the installed package",
            remedy="clone it and run `make bench`",
        )
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", "benchmarks", *(parts or [])], cwd=root, check=False).returncode
    )
