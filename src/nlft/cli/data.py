"""`nlft data`: problems from GSM8K, generated ones, or from a file; `check` and `show` inspect a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nlft.cli.options import Output, make_app, with_settings
from nlft.cli.output import conclude
from nlft.data.config import (
    CheckSettings,
    FileSettings,
    GSM8KSettings,
    GSMSymbolicSettings,
    ReadSettings,
    ReasoningGymSettings,
)
from nlft.errors import ConfigError
from nlft.lm.config import TemplateSettings
from nlft.progress import Outcome, printable

FILE = "file"
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Count this model's tokens (loads only the tokenizer).")
]


class _SourceGroup(TyperGroup):
    """A group that takes any word other than a command for a file: `nlft data my.csv -o problems.jsonl`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            named = next((word for word in args if word in self.commands), None)
            if args[0].startswith("-") and named:  # options before the source
                args = [named, *(word for word in args if word != named)]
            else:
                args = [FILE, *args]
        return super().parse_args(ctx, args)


app = make_app(
    cls=_SourceGroup,
    no_args_is_help=True,
    help="Make a file of problems: nlft data gsm8k|gsm_symbolic|reasoning-gym|FILE -o problems.jsonl; or inspect one.",
)


@app.command()
@with_settings(GSM8KSettings, leave_out=["source"])
def gsm8k(output: Output, settings: GSM8KSettings) -> None:
    """GSM8K, from the Hugging Face hub or from the official files."""
    _make(settings, output)


@app.command("gsm_symbolic")
@with_settings(GSMSymbolicSettings, leave_out=["source"])
def gsm_symbolic(output: Output, settings: GSMSymbolicSettings) -> None:
    """Word problems generated offline, with worked solutions."""
    _make(settings, output)


@app.command("reasoning-gym")
@with_settings(ReasoningGymSettings, leave_out=["source"])
def reasoning_gym(output: Output, settings: ReasoningGymSettings) -> None:
    """Problems of any reasoning-gym task, generated offline; grade them with --grader reasoning-gym."""
    _make(settings, output)


@app.command(FILE)
@with_settings(FileSettings, operands=["source"], leave_out=["part", "test_n"])  # --hold-out writes both parts
def file(
    output: Output,
    settings: FileSettings,
    hold_out: Annotated[Path | None, typer.Option(help="JSONL file for held-out test rows.")] = None,
    hold_out_n: Annotated[
        int | None, typer.Option(min=1, help="Number of questions to hold out; a fifth by default.")
    ] = None,
) -> None:
    """Any file of questions and answers (you may omit the word `file`): `nlft data my.csv -o problems.jsonl`."""
    if hold_out is None and hold_out_n is not None:
        raise ConfigError("no file for the held-out rows", remedy="name one: --hold-out test.jsonl")
    _make(settings, output, test=hold_out, test_n=hold_out_n)


@app.command()
@with_settings(CheckSettings)
def check(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Any file of the pipeline, or any file that `nlft data` reads.")
    ],
    model: Model = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Test set to check for overlap; --map applies to its columns, too, where it has them."),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Maximum tokens per path; the model's context length by default.")
    ] = None,
    *,
    settings: CheckSettings,
) -> None:
    """Find what would spoil a training run; exits with 1 if there are errors."""
    from nlft.data.check import check_file

    report = check_file(path, model=model, against=against, max_length=max_length, settings=_for(model, settings))
    conclude(Outcome(report.to_text(), data=report.facts()))
    if report.errors:
        raise typer.Exit(1)


@app.command()
@with_settings(ReadSettings)
def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Files that `nlft data` reads, of one kind or several.")
    ],
    output: Output,
    settings: ReadSettings,
) -> None:
    """Put files together, such as the answers of several teachers: ids stay unique, and `source` says whose a row is."""
    from nlft.data.step import merge_files

    conclude(merge_files(settings, files, output))


@app.command("apply-edits")
def apply_edits(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file that `nlft view --edit` opened.")],
    output: Output,
) -> None:
    """Merge a file with what a person changed in it (FILE's .edits.jsonl); both stay as they are."""
    from nlft.data.step import apply_edits as merge

    conclude(merge(path, output))


@app.command()
@with_settings(CheckSettings)
def show(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Any file of the pipeline, or any file that `nlft data` reads.")
    ],
    row: Annotated[str, typer.Argument(help="Row number (from 1) or id.")],
    model: Model = None,
    *,
    settings: CheckSettings,
) -> None:
    """Show one row as stored, each prompt as the model sees it, and its tokens, with the trained ones marked."""
    from nlft.data.show import show_row

    print(printable(show_row(path, row, model=model, settings=_for(model, settings))))


def _for(model: str | None, settings: CheckSettings) -> CheckSettings:
    """The settings, unless they decide about the template of no model."""
    given = sorted(settings.model_fields_set & TemplateSettings.model_fields.keys())
    if model is None and given:
        flag = "--" + given[0].replace("_", "-")
        raise ConfigError(f"{flag} has no effect without a model", remedy=f"name one with --model, or drop {flag}")
    return settings


def _make(settings: Any, output: Path, **held: Any) -> None:
    from nlft.data.step import run

    conclude(run(settings, output, **held))
