"""JavaScript = Python: the page's own functions, run in the browser, against nlft.core."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from nlft.core import SaliencySettings, example_loss
from nlft.saliency_map.export import render_page
from nlft.saliency_map.facts import token_facts
from nlft.score.schema import allocate_scores, make_scores

pytestmark = pytest.mark.browser

GOLDEN = Path(__file__).parents[1] / "core" / "golden" / "authors_cases.json"
PRESETS = {"paper": SaliencySettings.paper(), "authors": SaliencySettings.authors()}

# Runs in the page: the functions are those the page itself uses.
ALLOCATE = """(settings) => JSON.parse(document.querySelector("#data").textContent).rows.map(({ scores }) => {
  const found = module_allocate.allocate(scores, settings);
  return {
    salient: [...found.salient].map(Boolean),
    cluster: [...found.cluster].map(Boolean),
    scale: [...found.scale],
    excluded: found.excluded,
    terms: [...module_allocate.lossTerms(scores, found, settings)],
    similarity: [...module_walk.similarities(scores, found.salient, settings)].map((x) => (isNaN(x) ? null : x)),
    roles: [...module_roles.rolesOf(found)].map((role) => module_roles.ROLES[role]),
  };
})"""


def allocated(page: Any, settings: SaliencySettings) -> list[dict[str, Any]]:
    """What the page makes of each of its rows."""
    return page.evaluate(ALLOCATE, settings.to_mapping())


def assert_same(found: dict[str, Any], scores: Any, settings: SaliencySettings) -> None:
    expected = allocate_scores(scores, settings)
    assert found["salient"] == expected.salient.tolist()
    assert found["cluster"] == expected.cluster.tolist()
    assert found["excluded"] == bool(expected.excluded)
    assert found["scale"] == pytest.approx(expected.scale.tolist(), rel=1e-9, abs=1e-300)
    loss = example_loss(torch.tensor(scores.logp_base, dtype=torch.float64), expected, settings.replace(likelihood=0.0))
    assert sum(found["terms"]) / len(found["terms"]) == pytest.approx(float(loss.weighted), rel=1e-9, abs=1e-12)


def golden_scores(case: dict[str, Any], settings: SaliencySettings) -> Any:
    def logs(name: str) -> torch.Tensor:
        return torch.tensor(case[name], dtype=torch.float64).log()

    n = len(case["p_base"])
    return make_scores(
        model="the authors' cases",
        token_ids=list(range(n)),
        pieces=[f" {t}" for t in range(n)],
        logp_base=logs("p_base"),
        logp_standard=logs("p_standard"),
        logp_judge=None if case["p_judge"] is None else logs("p_judge"),
        hidden_states=torch.tensor(case["hidden"], dtype=torch.float64),
        settings=settings,
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_golden_cases(preset, open_page, exported, dress):
    cases = json.loads(GOLDEN.read_text())
    rows = [
        dress(golden_scores(case, PRESETS[preset]), f"{i}", correct=case["kind"] == "correct")
        for i, case in enumerate(cases)
    ]
    opened = open_page(exported(rows))
    for row, case, found in zip(rows, cases, allocated(opened.page, PRESETS[preset]), strict=True):
        assert_same(found, row.scores, PRESETS[preset])
        if preset == "authors":  # not only Python's word: the authors' own masks
            assert found["salient"] == case["salient"]
            assert found["cluster"] == case["cluster"]


@pytest.fixture(scope="module")
def two_hundred(make_scored):
    return [make_scored(seed, correct=seed % 2 == 0) for seed in range(200)]


@pytest.fixture(scope="module")
def in_browser(browser, two_hundred, tmp_path_factory):
    """One page with the two hundred rows, for every test that only asks it to compute."""
    path = tmp_path_factory.mktemp("agreement") / "map.html"
    path.write_text(render_page(two_hundred, source="scored.jsonl").html, encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    yield page
    page.close()


@pytest.mark.parametrize("preset", PRESETS)
def test_two_hundred_random_rows(preset, in_browser, two_hundred):
    joined = 0
    for row, found in zip(two_hundred, allocated(in_browser, PRESETS[preset]), strict=True):
        assert_same(found, row.scores, PRESETS[preset])
        joined += sum(found["cluster"]) - sum(found["salient"])
    assert joined > 100  # the phrases were put to the test


VARIANTS = [
    {"cluster": "none"},
    {"cluster_threshold": 0.0},
    {"cluster": "distance", "cluster_threshold": 0.05},
    {"filter": "mask", "filter_threshold": 0.2, "incorrect_rest": "standard"},
    {"filter": "off", "incorrect_term": "unlikelihood", "r0": 0.7},
    {"correct_weight": "log_ratio", "ratio_threshold": 1.1},
    {"ones": ["salient", "error"], "mean_one": True},
    {"ones": ["sub_salient", "irrelevant"], "p0_correct": 0.5, "c1": 0.0},
    {"use_judge": False},
    {"p0_incorrect": 0.0, "c2": 2.5, "c3": 0.0, "rest_exponent": 1.5},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: "-".join(changes))
def test_every_setting(changes, in_browser, two_hundred):
    settings = SaliencySettings.from_mapping(changes)
    for row, found in list(zip(two_hundred, allocated(in_browser, settings), strict=True))[:40]:
        assert_same(found, row.scores, settings)


def test_the_numbers_of_a_token(in_browser, two_hundred):
    """Similarity and role agree with what `nlft show` prints."""
    for settings in PRESETS.values():
        for row, found in list(zip(two_hundred, allocated(in_browser, settings), strict=True))[:40]:
            facts = token_facts(row.scores, settings)
            assert found["roles"] == [fact.role for fact in facts]
            for ours, theirs in zip(found["similarity"], facts, strict=True):
                assert (ours is None) == (theirs.similarity is None)
                assert ours is None or math.isclose(ours, theirs.similarity, rel_tol=1e-9, abs_tol=1e-12)


def test_extreme_probabilities(open_page, exported, dress):
    """log P = 0, probabilities that underflow, -inf, and one token alone."""
    n = 6
    extreme = torch.tensor([0.0, -1e-9, -800.0, -math.inf, -0.05, -1e4])
    for settings in PRESETS.values():
        rows = []
        for correct in (True, False):
            scores = make_scores(
                model="m",
                token_ids=list(range(n)),
                pieces=["x"] * n,
                logp_base=extreme,
                logp_standard=extreme.flip(0),
                logp_judge=None if correct else extreme.roll(2),
                hidden_states=torch.ones(n, 3),
                settings=settings,
            )
            rows.append(dress(scores, str(correct), correct=correct))
        opened = open_page(exported(rows))
        for row, found in zip(rows, allocated(opened.page, settings), strict=True):
            assert all(x is not None and math.isfinite(x) for x in found["scale"])
            assert_same(found, row.scores, settings)
