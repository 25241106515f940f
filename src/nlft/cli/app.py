"""The root of `nlft`: loads verbs on demand, and turns errors into messages and exit codes.

Exit codes: 0 done; 1 something you can fix; 2 wrong usage or settings; 3 done, but some rows failed for good; 4 stopped
at a limit on requests or cost; 130 interrupted; 141 the reader of the output has gone. docs/commands.md says more.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import logging
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from nlft import processes
from nlft.cli.output import as_told, every_verb
from nlft.errors import ConfigError, NLFTError, without_secrets
from nlft.progress import printable

# Errors that freeing disk space fixes; any other OSError is shown with a traceback.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Typer keeps the base of its usage errors private; this is its public subclass's parent.
UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

# In pipeline order, so that `nlft --help` reads like the paper's figure 3. Each verb is a file in this folder
# with its own `app`; the text here is its line in `nlft --help`, which loads no verb.
VERBS = {
    "demo": "Run the whole pipeline on a small real model, in minutes, without a GPU or a key.",
    "data": "Make a file of problems, check one, or show a row of it.",
    "answer": "Get a response to each problem from a local model, a server or a recording.",
    "grade": "Compare each response's final answer with the reference.",
    "judge": "Say in words what is wrong with each incorrect response.",
    "revise": "Let the student answer again, and put its right answers in place of wrong responses.",
    "score": "Compute what each response token is worth.",
    "show": "Show scored responses in the terminal, with every token's role.",
    "view": "Make the saliency map, as a file or served on this machine.",
    "train": "Fine-tune a model on judged responses.",
    "evaluate": "Measure a model's accuracy on held-out problems.",
    "export": "Merge an adapter into its model, or copy it for a server; print the commands that serve it.",
    "push": "Publish an adapter or a model, with its card, on the Hugging Face hub.",
    "compare": "Compare evaluations problem by problem, with intervals.",
    "init": "Look at your file, and write a recipe for it.",
    "run": "Run a recipe, from the problems to accuracy before and after training.",
    "choose": "Find out which training suits your rows.",
    "experiment": "Compare methods: run the missing cells, draw tables and figures.",
    "recipes": "List the recipes that come with nlft, or copy one.",
    "schema": "Print the JSON Schema of a recipe, for your editor.",
    "env": "Print what a bug report needs.",
    "bench": "Measure speed and memory, from a checkout of the project.",
}
# The verbs that several processes may run together (`torchrun -m nlft train ...`).
SHARED = ("answer", "score", "train", "evaluate")


class _Verbs(TyperGroup):
    """The verbs, each loaded on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in VERBS:
            if processes.count() > 1 and cmd_name not in SHARED:
                only = ", ".join(SHARED)
                raise ConfigError(
                    f"`nlft {cmd_name}` runs in one process, but a launcher started {processes.count()}",
                    remedy=f"start it without one; these verbs share their work: {only}",
                )
            return load_verb(cmd_name)
        from nlft.config import did_you_mean

        raise ConfigError(f"there is no command {cmd_name!r}", remedy=did_you_mean(cmd_name, VERBS))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def load_verb(name: str) -> Any:
    """The command of a verb, with the options that every verb has."""
    verb = typer.main.get_command(importlib.import_module(f"nlft.cli.{name}").app)
    parts = {f"{name} {part}": command for part, command in getattr(verb, "commands", {}).items()}
    for called, command in ({} if parts and verb.no_args_is_help else {name: verb}).items() | parts.items():
        command.params += every_verb(called)
    return verb


def _show_version(value: bool) -> None:
    if value:
        from nlft import __version__

        print(f"nlft {__version__}")
        raise typer.Exit()


app = typer.Typer(
    name="nlft",
    cls=_Verbs,
    help="Natural Language Fine-Tuning: train a language model on tens of examples, with words as the training signal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_show_version, is_eager=True),
) -> None:
    """Natural Language Fine-Tuning."""


def main() -> None:
    """The entry point of the `nlft` command."""
    sys.excepthook = _report
    if processes.leads():
        sys.exit(run(sys.argv[1:]))
    # Of several processes one speaks; the others only report what went wrong with them.
    logging.getLogger("nlft").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; errors become messages on stderr and an exit code."""
    with as_told():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="nlft", standalone_mode=False) or 0
        sys.stdout.flush()
    except NLFTError as error:
        return _fail(str(error), error.exit_code, silent=error.shared and not processes.leads())
    except UsageError as error:
        return _refuse(error)
    except BrokenPipeError:
        return _leave_quietly()
    except OSError as error:
        if error.errno not in _DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = "free some disk space and re-run the same command; finished work is on disk"
        return _fail(f"{place}{error.strerror}\n  remedy: {remedy}", 1)
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        return _fail("interrupted: finished work is on disk; re-run the same command to resume", 130, mark="")
    return int(code)


def _report(kind: type[BaseException], error: BaseException, where: Any) -> None:
    """Print the traceback of a bug, which may hold anything, but no key."""
    print(without_secrets("".join(traceback.format_exception(kind, error, where))), file=sys.stderr, end="")


def _fail(message: str, code: int, mark: str = "error: ", *, silent: bool = False) -> int:
    # What is wrong with the command line is wrong in all processes.
    if not silent and (processes.leads() or code == 1):
        place = "" if processes.leads() else f"process {processes.rank()}: "
        print(place + mark + printable(message), file=sys.stderr)
    return code


def _refuse(error: typer.BadParameter) -> int:
    """Report wrong usage, and suggest the option that was probably meant."""
    if not processes.leads():
        return 2
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
    """End silently when the reader of our output has gone (`nlft ... | head`)."""
    with contextlib.suppress(OSError):
        # Python flushes stdout once more at exit, which would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # as a shell reports SIGPIPE
