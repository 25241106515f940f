"""The root of `nlft`: gathers the verbs, and turns errors into messages and exit codes.

Exit codes: 0 done; 1 something a user can mend; 2 wrong usage or settings; 3 done but some rows
failed for good; 130 interrupted.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import typer

import nlft.cli
from nlft.errors import NLFTError

app = typer.Typer(
    name="nlft",
    help="Natural Language Fine-Tuning: train a language model on tens of examples, with words as the signal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from nlft import __version__

        print(f"nlft {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_show_version, is_eager=True),
) -> None:
    """Natural Language Fine-Tuning."""


# The order of the pipeline, so that `nlft --help` reads like the paper's figure 3.
VERBS = (
    "demo", "data", "answer", "grade", "judge", "score", "show", "view", "train", "evaluate", "compare", "run",
    "experiment", "bench",
)  # fmt: skip


def register() -> None:
    """Add every verb that has a file `cli/<verb>.py`; each offers `register(app)`."""
    present = {module.name for module in pkgutil.iter_modules(nlft.cli.__path__)}
    for verb in VERBS:
        if verb in present:
            importlib.import_module(f"nlft.cli.{verb}").register(app)


register()


def main() -> None:
    """The entry point of the `nlft` command."""
    try:
        app()
    except NLFTError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: what was finished is on disk; run the same command to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
