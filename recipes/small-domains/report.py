"""Draw the tables and the figure of the comparison from recorded/, into recorded/SPLIT.md and docs/images/small-domains.svg.

python recipes/small-domains/report.py [--split test] [--winner revise-all]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from compare import DOMAINS, DRAWS, FORMS, METHODS, MIXTURE, PLAIN, RATE, TESTED, cell_of

from nlft.evaluate.figures import COLOURS, new_figure, save_figure
from nlft.evaluate.statistics import holm
from nlft.pipeline.results import CellResult, read_results

HERE = Path(__file__).parent
FIGURE = HERE.parents[1] / "docs" / "images" / "small-domains.svg"
Key = tuple[str, str, int, str]  # domain, form, draw, method
BEST = "best plain SFT of each domain"


def recorded(folder: Path, split: str, mixture: str, rate: float) -> dict[Key, CellResult]:
    """The finished cells."""
    found: dict[Key, CellResult] = {}
    wanted = {cell_of(method, split, rate): method for method in METHODS}
    for domain, form, draw in itertools.product(DOMAINS, FORMS, DRAWS):
        home = folder / f"{domain}-{form}-{mixture}-d{draw}"
        for cell, result in read_results(home, split, wanted).items():  # type: ignore[arg-type]
            found[domain, form, draw, wanted[cell]] = result
    return found


def whole(cells: dict[Key, CellResult]) -> dict[Key, CellResult]:
    """The cells of those forms and draws that are finished, every tested method in every domain, so that all weigh alike."""

    def finished(form: str, draw: int) -> bool:
        return all((domain, form, draw, method) in cells for domain in DOMAINS for method in TESTED)

    return {key: cell for key, cell in cells.items() if finished(*key[1:3])}


def solved(result: CellResult, grader: str = "flexible") -> list[float]:
    """1 for each problem solved, 0 for the others."""
    return [float(digit) for digit in result.solved[grader]]


def differences(
    cells: dict[Key, CellResult], ours: str, theirs: str, forms: Iterable[str], grader: str = "flexible"
) -> list[list[list[float]]]:
    """Where both are finished: for each domain, for each draw (of each form), the paired difference on each problem."""
    found = []
    for domain in DOMAINS:
        rows = [
            list(np.subtract(solved(cells[(*key, ours)], grader), solved(cells[(*key, theirs)], grader)))
            for key in ((domain, form, draw) for form in forms for draw in DRAWS)
            if (*key, ours) in cells and (*key, theirs) in cells
        ]
        if rows:
            found.append(rows)
    return found


def bootstrap(
    table: Sequence[Sequence[Sequence[float]]], draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float, float]:
    """Mean, 95 % interval and two-sided p of a difference, resampling domains, draws and problems together.

    Domains are resampled first, then the draws and the problems within each. Each domain weighs the same.
    """
    rng = np.random.default_rng(seed)
    tables = [np.asarray(rows) for rows in table]
    within = np.empty((len(tables), draws))
    # A domain that is drawn twice gets two resamples of its own, so there are as many of each as there are domains.
    copies = np.stack([_resampled(rows, draws * len(tables), rng).reshape(len(tables), draws) for rows in tables])
    chosen = rng.integers(len(tables), size=(len(tables), draws))
    for place in range(len(tables)):
        within[place] = copies[chosen[place], place, np.arange(draws)]
    means = within.mean(axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return float(np.mean([rows.mean() for rows in tables])), float(low), float(high), min(1.0, max(2 * tail, 1 / draws))


def _resampled(rows: np.ndarray, times: int, rng: np.random.Generator) -> np.ndarray:
    many, problems = rows.shape
    counts = rng.multinomial(many, np.full(many, 1 / many), size=times)
    means = np.empty(times)
    for start in range(0, times, 2000):
        part = counts[start : start + 2000]
        weights = rng.multinomial(problems, np.full(problems, 1 / problems), size=len(part))
        means[start : start + 2000] = np.einsum("ds,sp,dp->d", part, rows, weights, optimize=True) / rows.size
    return means


def accuracy_table(cells: dict[Key, CellResult], form: str, grader: str) -> list[str]:
    """Per cent solved, averaged over draws, with the draws' range."""
    lines = [f"| {form}, {grader} | " + " | ".join(DOMAINS) + " | mean |", "| --- |" + " ---: |" * (len(DOMAINS) + 1)]
    for method in METHODS:
        texts, means = [], []
        for domain in DOMAINS:
            shares = [
                100 * np.mean(solved(cells[domain, form, draw, method], grader))
                for draw in DRAWS
                if (domain, form, draw, method) in cells
            ]
            if shares:
                means.append(float(np.mean(shares)))
                spread = f" ({min(shares):.0f} to {max(shares):.0f})" if len(shares) > 1 else ""
                texts.append(f"{means[-1]:.1f}{spread}")
            else:
                texts.append("not run")
        whole = f"{np.mean(means):.1f}" if len(means) == len(DOMAINS) else "–"
        if means:
            lines.append(f"| `{method}` | " + " | ".join(texts) + f" | {whole} |")
    return lines


def best_plain(cells: dict[Key, CellResult], forms: Iterable[str]) -> dict[Key, CellResult]:
    """For each domain the cells of the plain SFT that solved most there, as those of one method, `BEST`.

    It is chosen with hindsight, on the test problems themselves, which favours it.
    """
    found = {}
    for domain, form in itertools.product(DOMAINS, forms):
        draws = [draw for draw in DRAWS if all((domain, form, draw, method) in cells for method in PLAIN)]

        def mean(method: str, domain: str = domain, form: str = form, draws: Sequence[int] = draws) -> float:
            return float(np.mean([solved(cells[domain, form, draw, method]) for draw in draws]))

        if draws:
            best = max(PLAIN, key=mean)
            found.update({(domain, form, draw, BEST): cells[domain, form, draw, best] for draw in draws})
    return found


def comparison_table(cells: dict[Key, CellResult], winner: str, forms: Sequence[str], name: str) -> list[str]:
    """The winner against every other method, corrected after Holm among the plain SFTs."""
    cells = {**cells, **best_plain(cells, forms)}
    others = [method for method in (*METHODS, BEST) if method != winner]
    results = {}
    for other in others:
        table = differences(cells, winner, other, forms)
        if table:
            results[other] = (bootstrap(table), sum(len(rows) for rows in table))
    corrected = holm({other: results[other][0][3] for other in results if other in PLAIN})
    lines = [
        f"| `{winner}` against, {name} | cells | difference, points | 95 % | p | p (Holm) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for other, ((mean, low, high, p), count) in results.items():
        family = f"{corrected[other]:.4f}" if other in corrected else "–"
        lines.append(
            f"| {other if other == BEST else f'`{other}`'} | {count} | {100 * mean:+.1f} | {100 * low:.1f} to {100 * high:.1f} | {p:.4f} | {family} |"
        )
    return lines


def figure(cells: dict[Key, CellResult], output: Path) -> None:
    """For each form with results, one bar a method, the mean over the domains, and a mark for each domain."""
    forms = [form for form in FORMS if any(key[1] == form for key in cells)]
    drawn = new_figure(4.5 * len(forms) + 1.5, 3.6)
    panels = drawn.subplots(1, len(forms), sharey=True, squeeze=False)[0]
    for axis, form in zip(panels, forms, strict=True):
        for place, method in enumerate(TESTED):
            shares = {
                domain: float(np.mean([100 * np.mean(solved(cells[key])) for key in keys]))
                for domain in DOMAINS
                if (keys := [(domain, form, draw, method) for draw in DRAWS if (domain, form, draw, method) in cells])
            }
            if len(shares) == len(DOMAINS):
                axis.bar(place, np.mean(list(shares.values())), color=COLOURS[0] if method in PLAIN else COLOURS[1])
                for domain, marker in zip(DOMAINS, "o^sD", strict=True):
                    label = domain if method == TESTED[0] else None
                    axis.plot(place, shares[domain], marker, color="#333333", markersize=4, label=label)
        axis.set_xticks(range(len(TESTED)), TESTED, rotation=60, ha="right", fontsize=9)
        axis.set_title(f"standard answers: {form}", fontsize=10)
    panels[0].set_ylabel("test problems solved, %")
    panels[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    save_figure(drawn, output)


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="test", choices=["dev", "test"])
    parser.add_argument("--rate", type=float, default=RATE, help="of development cells")
    parser.add_argument("--mixture", default=MIXTURE)
    parser.add_argument("--winner", default="revise-all", choices=METHODS)
    args = parser.parse_args()
    folder = HERE / "recorded"
    cells = recorded(folder, args.split, args.mixture, args.rate)
    if args.split == "test":
        cells = whole(cells)
    lines: list[str] = []
    for form in FORMS:
        for grader in ("flexible", "strict"):
            if any(key[1] == form for key in cells):
                lines += [*accuracy_table(cells, form, grader), ""]
    for forms, name in ((FORMS, "both forms"), (("final",), "final"), (("worked",), "worked")):
        if {key[1] for key in cells} >= set(forms):
            lines += [*comparison_table(cells, args.winner, forms, name), ""]
    (folder / f"{args.split}.md").write_text("\n".join(lines), "utf-8")
    if args.split == "test":
        figure(cells, FIGURE)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
