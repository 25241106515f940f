"""The root of `nlft`: gathers the verbs, and turns errors into messages and exit codes.

Exit codes: 0 done; 1 something a user can mend; 2 wrong usage or settings; 3 done but some rows
failed for good; 4 stopped at a limit on requests or cost; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import pkgutil
import sys

import typer

import nlft.cli
from nlft.cli.printable import printable
from nlft.errors import NLFTError

# What the user can mend by making room; anything else the system refuses is told with a traceback.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Typer keeps the base of its usage errors private; this is its public subclass's parent.
UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

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
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; errors become messages on stderr and an exit code."""
    try:
        code = app(arguments, prog_name="nlft", standalone_mode=False) or 0
        sys.stdout.flush()
    except NLFTError as error:
        return _fail(str(error), error.exit_code)
    except UsageError as error:
        return _refuse(error)
    except BrokenPipeError:
        return _leave_quietly()
    except OSError as error:
        if error.errno not in _DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = "free some space and run the same command again: what was finished is on disk"
        return _fail(f"{place}{error.strerror}\n  remedy: {remedy}", 1)
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        return _fail("interrupted: what was finished is on disk; run the same command to go on", 130, mark="")
    return int(code)


def _fail(message: str, code: int, mark: str = "error: ") -> int:
    print(mark + printable(message), file=sys.stderr)
    return code


def _refuse(error: typer.BadParameter) -> int:
    """Wrong usage: what is wrong, and the option that may have been meant."""
    if error.message.startswith("Usage:"):  # a bare command, whose message is its help
        print(error.message)
        return 2
    if error.ctx is not None:
        print(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", file=sys.stderr)
    near = getattr(error, "possibilities", None)  # a mistyped option's neighbours
    remedy = f"\n  remedy: did you mean {' or '.join(sorted(near))}?" if near else ""
    message = error.message if near else error.format_message()
    return _fail(message + remedy, 2)


def _leave_quietly() -> int:
    """The reader of our output has gone (`nlft ... | head`): nothing to say, and nobody to say it to."""
    with contextlib.suppress(OSError):
        # Python flushes stdout once more on its way out, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # as a shell reports SIGPIPE


if __name__ == "__main__":
    main()
