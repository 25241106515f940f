"""`nlft show`: scored responses in the terminal: one, with coloured tokens, or all of them in a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlft.cli.options import make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

if TYPE_CHECKING:
    from nlft.records import Scored


app = make_app()


@app.command()
def show(
    scored: Annotated[Path, typer.Argument(help="JSONL that `nlft score` wrote.")],
    row: Annotated[
        str | None, typer.Argument(help="Row number (from 1) or id; by default, a table of all rows.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Use these constants instead of the file's: paper or authors.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML file of constants that override the preset.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens/--no-tokens", help="Print one line of numbers per token.")] = True,
) -> None:
    """Show one response with each token's role, scale and probabilities, or a table of all tokens by role."""
    from nlft.config import parse_config
    from nlft.records import Scored, read_records
    from nlft.score.config import Constants

    given = {"preset": preset, "settings": str(settings) if settings is not None else None}
    chosen_constants = {name: value for name, value in given.items() if value is not None}
    constants = parse_config(chosen_constants, Constants).saliency() if chosen_constants else None
    rows = read_records(scored, Scored)
    chosen = _choose(rows, row, scored) if row is not None else None

    from rich.console import Console

    from nlft.saliency_map.facts import token_facts
    from nlft.saliency_map.terminal import row_view, totals_table
    from nlft.saliency_map.totals import totals
    from nlft.score.schema import allocate_scores, with_marks

    # Never interpret data as markup or emoji codes, and never highlight it.
    console = Console(markup=False, emoji=False, highlight=False)
    if chosen is None:
        found = totals(map(with_marks, rows), constants)
        data = dict(zip(("right", "wrong"), found, strict=True))
        conclude(Outcome("", data=data), show=lambda: console.print(totals_table(*found)))
        return
    chosen = with_marks(chosen)
    excluded = bool(allocate_scores(chosen.scores, constants).excluded)
    facts = token_facts(chosen.scores, constants)
    view = row_view(chosen, facts, excluded=excluded, table=tokens)
    conclude(
        Outcome("", data={"id": chosen.id, "excluded": excluded, "tokens": facts}), show=lambda: console.print(view)
    )


def _choose(rows: Iterable[Scored], row: str, file: Path) -> Scored:
    from nlft.config import did_you_mean
    from nlft.errors import ConfigError

    ids = []
    for number, record in enumerate(rows, start=1):
        if record.id == row or (row.isdecimal() and int(row) == number):
            return record
        ids.append(record.id)
    remedy = f"give a number from 1 to {len(ids)}" if row.isdecimal() else did_you_mean(row, ids[:10_000])
    raise ConfigError(f"there is no row {row!r}", file=file, remedy=remedy)
