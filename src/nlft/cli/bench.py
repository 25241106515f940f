"""`nlft bench`: speed and memory compared with the alternatives, from a checkout of the project."""

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
    parts: Annotated[
        list[str] | None, typer.Argument(help="Parts to run, such as trl or memory; all by default.")
    ] = None,
) -> None:
    """Run the benchmarks; run nothing else on the machine at the same time."""
    from nlft.errors import ConfigError

    root = Path(__file__).parents[3]
    if not (root / "benchmarks" / "__main__.py").exists():
        raise ConfigError(
            "the benchmarks come with the repository, not with the installed package",
            remedy="clone it and run `make bench`",
        )
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", "benchmarks", *(parts or [])], cwd=root, check=False).returncode
    )
