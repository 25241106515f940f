"""`nlft data`: problems from GSM8K, from gsm_symbolic, or from a file; `check` and `show` look into a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from nlft.records import Record

FILE = "file"
Output = Annotated[Path, typer.Option("--output", "-o", help="The JSONL file to write.")]
Split = Annotated[str, typer.Option(help="train or test.")]
Count = Annotated[
    int | None, typer.Option("--n", min=1, help="The first n of one seeded shuffle; without it, all in order.")
]
ShuffleSeed = Annotated[int, typer.Option(help="Of the shuffle; subsets of one seed are nested.")]


class _SourceGroup(TyperGroup):
    """A group in which every word that names no command is a file: `nlft data my.csv -o problems.jsonl`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            named = next((word for word in args if word in self.commands), None)
            if args[0].startswith("-") and named:  # options before the source
                args = [named, *(word for word in args if word != named)]
            else:
                args = [FILE, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the verb and its sources."""
    group = typer.Typer(
        cls=_SourceGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Make a file of problems: nlft data gsm8k|gsm_symbolic|FILE -o problems.jsonl; or look into one.",
    )
    group.command("gsm8k")(gsm8k)
    group.command("gsm_symbolic")(gsm_symbolic)
    group.command(FILE)(file)
    group.command("check")(check)
    group.command("show")(show)
    app.add_typer(group, name="data")


def gsm8k(
    output: Output,
    split: Split = "train",
    n: Count = None,
    seed: ShuffleSeed = 42,
    path: Annotated[
        Path | None, typer.Option(help="Folder of the official train.jsonl and test.jsonl, instead of the hub.")
    ] = None,
) -> None:
    """GSM8K, from the Hugging Face hub or from the official files."""
    from nlft.data import gsm8k

    _write(output, gsm8k(split, n, seed, path))


def gsm_symbolic(
    output: Output,
    n: Annotated[int, typer.Option("--n", min=1, help="How many problems to make.")] = 100,
    seed: Annotated[int, typer.Option(help="Names and numbers follow from it.")] = 0,
    kinds: Annotated[str | None, typer.Option(help="Only these kinds of problem, such as 3,17,42.")] = None,
    difficulty: Annotated[float, typer.Option(min=1.0, help="Scales the numbers.")] = 1.0,
) -> None:
    """Word problems made on the spot, offline, with worked solutions."""
    from nlft.data import gsm_symbolic
    from nlft.errors import ConfigError

    try:
        chosen = None if kinds is None else [int(kind) for kind in kinds.split(",")]
    except ValueError:
        raise ConfigError(f'--kinds "{kinds}" is no list of numbers', remedy="write --kinds 3,17,42") from None
    _write(output, gsm_symbolic(n, seed, chosen, difficulty))


def file(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A file, or hub:NAME for a data set of the hub.")],
    output: Output,
    format: Annotated[
        str,
        typer.Option(
            help="auto; a container (jsonl, json, csv, tsv, parquet) or a layout (nlft, gsm8k, math, alpaca, "
            "prompt-completion, messages, sharegpt, authors)."
        ),
    ] = "auto",
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OURS=THEIRS", help="A column called otherwise: --map question=problem."),
    ] = None,
    n: Count = None,
    seed: ShuffleSeed = 42,
    split: Annotated[str, typer.Option(help="Of a hub data set.")] = "train",
    config: Annotated[str | None, typer.Option(help="Of a hub data set.")] = None,
    first_exchange: Annotated[
        bool, typer.Option("--first-exchange", help="Take the first two turns of a longer chat.")
    ] = False,
    hold_out: Annotated[
        Path | None, typer.Option(help="A second JSONL file, for rows kept from training, to test on.")
    ] = None,
    hold_out_n: Annotated[
        int | None, typer.Option(min=1, help="How many questions to hold out; a fifth where left out.")
    ] = None,
) -> None:
    """Any file of questions and answers (the word `file` may be left out): `nlft data my.csv -o problems.jsonl`."""
    from nlft.data import hold_out as split_off
    from nlft.data import load_problems
    from nlft.errors import ConfigError
    from nlft.files import refuse_same_file

    pairs = [column.partition("=") for column in columns or []]
    for ours, sign, theirs in pairs:
        if not (ours and sign and theirs):
            raise ConfigError(f'--map "{ours}{sign}{theirs}" is no pair', remedy="write --map question=problem")
    mapping = {ours: theirs for ours, _, theirs in pairs}
    refuse_same_file(source, output)
    rows = load_problems(
        source,
        format=format,
        columns=mapping,
        n=n,
        seed=seed,
        split=split,
        config=config,
        first_exchange=first_exchange,
    )
    if hold_out is None:
        if hold_out_n is not None:
            raise ConfigError("there is nowhere to write what is held out", remedy="name a file: --hold-out test.jsonl")
        _write(output, rows)
        return
    refuse_same_file(source, hold_out)
    refuse_same_file(output, hold_out)
    kept = list(rows)
    train, test = split_off(kept, hold_out_n or max(1, len(kept) // 5), seed)
    _write(hold_out, test)
    _write(output, train)


def check(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Any file of the pipeline, or one that `data` takes.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Count in its tokens (only the tokenizer is loaded).")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="The test set, to look for overlap.")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens a path may have; without it, the model's context.")
    ] = None,
    prompts: Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")] = "paper",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look for what would spoil a training run; exit code 1 when there are errors."""
    from nlft.cli.printable import printable
    from nlft.data.check import check_file

    report = check_file(path, model=model, against=against, max_length=max_length, prompts=prompts)
    print(report.to_json() if as_json else printable(report.to_text()))
    if report.errors:
        raise typer.Exit(1)


def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Any file of the pipeline.")],
    row: Annotated[str, typer.Argument(help="The row: its number, from 1, or its id.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Show prompts and tokens as this model sees them.")
    ] = None,
    prompts: Annotated[str, typer.Option(help="Prompt set: a shipped name, or a YAML file.")] = "paper",
) -> None:
    """One row: as it is in the file, each prompt as the model sees it, and its tokens, the trained ones marked."""
    from nlft.cli.printable import printable
    from nlft.data.show import show_row

    print(printable(show_row(path, row, model=model, prompts=prompts)))


def _write(output: Path, rows: Iterable[Record]) -> None:
    from nlft.records import write_records

    count = write_records(output, rows)
    print(f"{count} rows -> {output}")
