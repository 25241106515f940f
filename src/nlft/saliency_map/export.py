"""Scored records as one self-contained HTML file: no network, no build step, opens by double-click."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from nlft.config import Config
from nlft.core.settings import PRESETS, SaliencySettings
from nlft.errors import DataError
from nlft.files import refuse_same_file, write_lines
from nlft.progress import Outcome
from nlft.records import Scored, read_records
from nlft.saliency_map.bundle import Page, assemble, script_safe_json


def page_file(settings: Config, scored: Path, output: Path) -> Outcome:
    """Write the saliency map of a file of scored rows, atomically; the page has no settings.

    Raises:
        DataError: with the line, for a file that cannot be read or holds scores of another form.
        ConfigError: if the output is the input.
    """
    refuse_same_file(scored, output)
    rows = list(read_records(scored, Scored))
    page = render_page(rows, source=scored.name)
    write_lines(output, [page.html])
    return Outcome(f"{output}: {len(rows)} examples, {len(page.html) / 1e6:.2f} MB; open it in a browser")


def render_page(rows: Iterable[Scored], *, source: str, live: dict[str, str] | None = None) -> Page:
    """The page as a string, with its Content-Security-Policy.

    Args:
        rows: The examples; the page shows the settings and model of the first.
        source: The name to show for the source of the rows.
        live: What the page needs to let its server score new text.

    Raises:
        DataError: if there are no rows.
    """
    given = list(rows)
    if not given:
        raise DataError("no scored rows to show", remedy="run `nlft score` on judged answers first")
    from nlft.score.schema import with_marks  # loads torch, so only after the file has been read

    rows = [with_marks(row) for row in given]
    own = SaliencySettings.from_mapping(rows[0].scores.settings)
    settings = {"file": own, **{name: SaliencySettings.preset(name) for name in PRESETS}}
    data = {
        "source": source,
        "model": _short_name(rows[0].scores.model),
        "presets": {name: preset.to_mapping() for name, preset in settings.items()},
        "describe": SaliencySettings.describe(),
        "live": live,
        "rows": [page_row(row) for row in rows],
    }
    return assemble(script_safe_json(data), connects=live is not None)


def page_row(row: Scored) -> dict[str, Any]:
    """What the page needs from a record, without scales: the page computes them."""
    left_out = {"scale", "version", "model", *(row.scores.model_extra or {})}
    scores = row.scores.model_dump(mode="json", exclude=left_out)
    for mask in ("salient", "cluster", "marks"):
        scores[mask] = scores[mask] and [int(value) for value in scores[mask]]
    return {
        "id": row.id,
        "question": row.question,
        "reference": row.reference,
        "judgment": row.judgment,
        "judge": row.judge,
        "verdict": {"correct": row.verdict.correct, "value": row.verdict.value, "reason": row.verdict.reason},
        "scores": scores,
    }


def _short_name(model: str) -> str:
    """A model's name, without folders of the machine that scored it."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(model)
        if path.is_absolute():
            return path.name
    return model
