"""The saliency map in the terminal: the page's colours and numbers, with rich."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from nlft.records import Scored

if TYPE_CHECKING:
    from nlft.saliency_map.facts import Role, TokenFacts
    from nlft.saliency_map.totals import RoleTotals, Totals

# The page's hues; black text on them is readable in light and dark terminals.
HUES: dict[Role, tuple[int, int, int]] = {
    "irrelevant": (138, 143, 152),
    "sub_salient": (86, 180, 233),
    "salient": (0, 114, 178),
    "near_error": (230, 159, 0),
    "error": (213, 94, 0),
    "marked": (204, 121, 167),
}
NAMES: dict[Role, str] = {
    "salient": "salient",
    "sub_salient": "sub-salient",
    "irrelevant": "irrelevant",
    "error": "error",
    "marked": "marked by a person",
    "near_error": "beside an error",
}
# As on the page: control characters, and characters that hide or reorder their neighbours.
_HIDDEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
    "|[\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Text with each invisible character as ‹its code point›; line feeds and tabs stay.

    >>> visible("a\x1b[31m")
    'a‹001B›[31m'
    """
    return _HIDDEN.sub(lambda found: f"‹{ord(found[0]):04X}›", text.replace("\r\n", "\n"))


def token_view(scored: Scored) -> Text:
    """The response of a scored record, each token coloured by its role and scale in the file."""
    from nlft.saliency_map.facts import roles_of

    scores = scored.scores
    roles = roles_of(scores.salient, scores.cluster, correct=scores.logp_judge is None, marks=scores.marks)
    return _coloured(scores.pieces, roles, scores.scale)


def row_view(scored: Scored, facts: Sequence[TokenFacts], *, excluded: bool, table: bool = True) -> RenderableType:
    """A whole record: texts, verdict, coloured response and, optionally, a line per token."""
    verdict = (
        Text("✓ right", style="bold blue") if scored.verdict.correct else Text("✗ wrong", style="bold dark_orange3")
    )
    head = Text.assemble((visible(scored.id), "bold"), "  ", verdict, "  ", visible(scored.verdict.reason))
    parts: list[RenderableType] = [head]
    for name, text in (
        ("question", scored.question),
        ("standard answer", scored.reference),
        ("judgment", scored.judgment),
    ):
        if text:
            parts += [Text(f"\n{name}", style="bold"), Text(visible(text))]
    note = "  excluded by the filter" if excluded else ""
    parts.append(Text.assemble(("\nresponse", "bold"), (note, "italic")))
    parts.append(_coloured([f.piece for f in facts], [f.role for f in facts], [f.scale for f in facts]))
    parts.append(legend(correct=scored.scores.logp_judge is None, marked=scored.scores.marks is not None))
    if table:
        parts += [Text(""), token_table(facts)]
    return Group(*parts)


def legend(*, correct: bool, marked: bool = False) -> Text:
    """What the colours mean in a correct, or an incorrect, response."""
    wanted: tuple[Role, ...] = (
        ("salient", "sub_salient", "irrelevant")
        if correct
        else ("marked" if marked else "error", "near_error", "irrelevant")
    )
    parts = [piece for role in wanted for piece in ((NAMES[role], _style(role, 1.0)), "  ")]
    return Text.assemble("\n", *parts, ("deeper: larger scale", "dim"))


def token_table(facts: Sequence[TokenFacts]) -> Table:
    """A line per token, with the numbers the page shows on hover; the last is the token's share of the loss."""
    # Narrow enough for eighty columns; the token column shrinks first.
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("token", overflow="fold", min_width=4)
    for name in ("P base", "P std", "P judge", "r1", "r2", "similar"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("role", no_wrap=True)
    for name in ("scale", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for t, fact in enumerate(facts, start=1):
        token = visible(fact.piece).replace("\n", "↵").replace(" ", "␣")
        numbers = (fact.p_base, fact.p_standard, fact.p_judge, fact.r1, fact.r2, fact.similarity)
        table.add_row(
            str(t),
            Text(token[:60], style=_style(fact.role, fact.scale)),
            *(Text(figure(number)) for number in numbers),
            {"near_error": "beside", "marked": "marked"}.get(fact.role, NAMES[fact.role]),
            figure(fact.scale),
            f"{fact.share:.1%}",
        )
    return table


def totals_table(right: Totals, wrong: Totals) -> Table:
    """A whole file, one line per role: the number of tokens, the model's confidence, and what trains on them.

    "SFT loss" is their share of the sum of -log P(base), "NLFT loss" their share of the weighted loss's absolute
    terms; P base is a geometric mean, the scale an arithmetic one.
    """
    lines: list[tuple[Totals, Role | None, RoleTotals]] = []
    for side, wanted in (
        (right, ("salient", "sub_salient", "irrelevant")),
        (wrong, ("marked", "error", "near_error", "irrelevant")),
    ):
        lines += [(side, role, side.roles[role]) for role in wanted if role in side.roles]
        if side.excluded:
            lines.append((side, None, side.left_out))
    tokens, surprise, loss = (sum(getattr(line, of) for _, _, line in lines) for of in ("tokens", "surprise", "loss"))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("response", no_wrap=True)
    table.add_column("role", no_wrap=True)
    for name in ("tokens", "share", "P base", "SFT loss", "scale", "NLFT loss"):
        table.add_column(name, justify="right", no_wrap=True)
    told: Totals | None = None
    for side, role, line in lines:
        what = f"{side.rows} {'right' if side is right else 'wrong'}" if side is not told else ""
        told = side
        table.add_row(
            what,
            Text(NAMES[role], style=_style(role, line.scale / line.tokens)) if role else f"{side.excluded} excluded",
            f"{line.tokens:,}",
            f"{line.tokens / tokens:.1%}",
            figure(math.exp(-line.surprise / line.tokens)),
            f"{line.surprise / surprise:.1%}" if surprise > 0 else "-",
            figure(line.scale / line.tokens),
            f"{line.loss / loss:.1%}" if loss > 0 else "-",
        )
    return table


def figure(number: float | None) -> str:
    """A readable number with three significant digits.

    >>> figure(0.123456), figure(1e-7), figure(None)
    ('0.123', '1e-07', '-')
    """
    return "-" if number is None else f"{number:.3g}"


def _coloured(pieces: Sequence[str], roles: Sequence[Role], scales: Sequence[float]) -> Text:
    text = Text()
    for piece, role, scale in zip(pieces, roles, scales, strict=True):
        text.append(visible(piece), style=_style(role, scale))
    return text


def _style(role: Role, scale: float) -> Style:
    """Background by role and scale, with a second cue besides colour for the roles that are trained on."""
    depth = min(scale / 2, 1.0) if role != "near_error" else 0.3
    if role == "irrelevant" and scale <= 0:
        return Style()
    # From a tint to most of the hue, so that black text stays readable.
    mix = 0.3 + 0.5 * depth
    red, green, blue = (round(255 + (part - 255) * mix) for part in HUES[role])
    return Style(
        color="black",
        bgcolor=f"rgb({red},{green},{blue})",
        underline=role == "salient",
        underline2=role in {"error", "marked"},
        bold=role == "marked",
        italic=role in {"sub_salient", "near_error"},
    )
