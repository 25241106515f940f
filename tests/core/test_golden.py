"""The preset `authors` against the authors' own functions.

golden/authors_cases.json records inputs and outputs of the three functions of the authors' released code
(allocation, scales, loss; arXiv 2412.20382), run in float64. Their code rounds the probabilities of an
incorrect response to float32 in its weighted term; `float32_incorrect` reproduces that.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nlft.core import SaliencySettings, allocate, example_loss

CASES = json.loads((Path(__file__).parent / "golden" / "authors_cases.json").read_text())


@pytest.fixture(params=CASES, ids=lambda case: f"{case['kind']}-{case['seed']}")
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def tensor(values: list[Any]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def run(case: dict[str, Any], settings: SaliencySettings):
    p_base = tensor(case["p_base"]).requires_grad_()
    judge = None if case["p_judge"] is None else tensor(case["p_judge"]).log()
    standard = tensor(case["p_standard"]).log()
    allocation = allocate(p_base.detach().log(), standard, judge, tensor(case["hidden"]), settings)
    return p_base, allocation, example_loss(p_base.log(), allocation, settings, judge)


def test_agrees_with_the_authors_code(case):
    p_base, allocation, loss = run(case, SaliencySettings.authors())
    assert allocation.salient.tolist() == case["salient"]
    assert allocation.cluster.tolist() == case["cluster"]
    assert allocation.excluded is False
    assert loss.weighted.item() == pytest.approx(case["loss"], rel=0, abs=1e-13)
    assert loss.likelihood.item() == pytest.approx(case["mle"], rel=0, abs=1e-13)
    assert loss.total.item() == pytest.approx(case["total_loss"], rel=0, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss.weighted, p_base)
    torch.testing.assert_close(gradient, tensor(case["dloss_dp_base"]), rtol=0, atol=1e-13)


def test_their_rounding_is_what_is_left_without_it(case):
    _, _, loss = run(case, SaliencySettings.authors().replace(float32_incorrect=False))
    assert loss.weighted.item() == pytest.approx(case["loss"], rel=0, abs=2e-9)
    if case["kind"] == "incorrect" and any(case["salient"]):
        assert abs(loss.weighted.item() - case["loss"]) > 1e-10


def test_the_cases_hold_what_they_should():
    assert [case["kind"] for case in CASES] == ["correct"] * 4 + ["incorrect"] * 4
    shares = [sum(case["salient"]) / len(case["salient"]) for case in CASES[4:]]
    threshold = SaliencySettings.authors().filter_threshold
    assert min(shares) == 0
    assert min(shares) < threshold < max(shares)
    assert any(case["cluster"] != case["salient"] for case in CASES)
