"""What a choice says: never a winner that the paired tests do not tell apart, and plain SFT where it is as good."""

import itertools
import json
from pathlib import Path
from random import Random

import pytest

from nlft.choose.verdict import choose
from nlft.evaluate import best_shares
from nlft.evaluate.evaluation import strip_computed
from nlft.pipeline.report import Point
from nlft.pipeline.results import CellResult

RESULT = json.loads((Path(__file__).parents[1] / "pipeline/golden/result.json").read_text())


def point(method: str, digits: str, *, size: int = 10, folds: int = 2) -> Point:
    """A method that solves the problems with a 1, spread over folds."""
    results = []
    for fold in range(folds):
        own = digits[fold::folds]
        accuracy = {"count": own.count("1"), "n": len(own)}
        evaluation = RESULT["evaluation"] | {"n": len(own), "strict": accuracy, "flexible": accuracy}
        evaluation |= {"data_hash": f"fold {fold}", "seed": 0}
        row = RESULT | {"method": method, "size": size, "epoch": None, "seed": 0, "fold": fold, "split": "dev"}
        row |= {"evaluation": strip_computed(evaluation), "solved": {"strict": own, "flexible": own}}
        results.append(CellResult.model_validate(row))
    return Point(method, size, None, tuple(results))


UNTRAINED = point("untrained", "0" * 20, size=0)


def test_a_winner_is_one_only_if_every_pair_says_so() -> None:
    found = [UNTRAINED, point("sft-response", "0" * 20), point("cut", "1" * 20)]
    choice = choose(found, "flexible")
    assert (choice.taken.method, choice.tied) == ("cut", [])
    # One comparison: 20 problems, all cut's: 2 / 2^20.
    assert choice.against[0].p_value == choice.against[0].p_holm == pytest.approx(2 / 2**20)
    assert "Take cut: it is better than every other candidate." in choice.text()
    assert "Against the untrained model: +100.0 points" in choice.text()


def test_what_is_not_told_apart_gives_way_to_the_best_plain_sft() -> None:
    sft, other = "1" * 6 + "0" * 14, "1" * 5 + "0" * 15
    found = [UNTRAINED, point("sft-response", other), point("sft-reference", sft), point("cut", "1" * 10 + "0" * 10)]
    choice = choose(found, "flexible")
    assert choice.ranked[0].method == "cut"
    assert choice.taken.method == "sft-reference"
    assert {each.a for each in choice.tied} == {"sft-reference", "sft-response"}
    text = choice.text()
    assert "Take sft-reference: of those not told apart, the plain SFT that solved most." in text
    assert "Solved most: cut, 50.0 % of 20 problems." in text
    assert "better than every" not in text
    # Three pairs: cut has 5 problems that sft-response has not, 2 / 2^5 = 0.0625, times 3.
    assert {each.a: each.p_holm for each in choice.against}["sft-response"] == pytest.approx(3 * 2 / 2**5)


def test_holm_goes_over_all_pairs_not_only_those_with_the_best() -> None:
    """7 problems of 20 alone: p = 2 / 2^7 = 0.0156. One of two such comparisons would pass; of six pairs, none does."""
    tail = "0" * 13
    found = [point("cut", "1" * 7 + tail)] + [point(name, "0" * 7 + tail) for name in ("sft-a", "sft-b", "sft-c")]
    choice = choose(found, "flexible")
    assert [each.p_holm for each in choice.against] == [pytest.approx(6 * 2 / 2**7)] * 3
    assert choice.taken.method == "sft-a"
    assert choice.untrained is None


def test_without_a_plain_sft_the_best_is_taken_and_told_to_be_tied() -> None:
    choice = choose([UNTRAINED, point("cut", "01" * 10), point("first-error", "01" * 9 + "00")], "strict")
    assert choice.taken.method == "cut"
    assert "no plain SFT is among those not told apart from it" in choice.text()
    assert "Not told apart from it: first-error (-5.0" in choice.text()


def test_no_gain_over_the_untrained_model_is_told() -> None:
    base = point("untrained", "1" * 3 + "0" * 17, size=0)
    choice = choose([base, point("sft-response", "1" * 4 + "0" * 16), point("cut", "0" * 20)], "flexible")
    assert "It is not shown to be better than the untrained model: +5.0 points" in choice.text()


def test_the_table_ranks_and_pairs() -> None:
    found = [UNTRAINED, point("sft-response", "1" * 4 + "0" * 16), point("cut", "1" * 10 + "0" * 10)]
    table = choose(found, "flexible").table()
    assert [row[0] for row in table.rows] == ["cut", "sft-response", "untrained"]
    assert table.header[5] == "against cut"
    assert table.rows[1][1] == "20.0 %"
    assert table.rows[1][5] == "-30.0"
    assert table.rows[1][7] == "0.031"  # 2 / 2^6
    assert len({len(row) for row in (table.header, *table.rows)}) == 1


def test_how_often_each_is_best_agrees_with_a_plain_loop() -> None:
    rng = Random(3)
    solved = [[float(rng.random() < share) for _ in range(12)] for share in (0.4, 0.5, 0.6)]
    exact = [0.0, 0.0, 0.0]
    draws = 4000
    for _ in range(draws):
        places = [rng.randrange(12) for _ in range(12)]
        sums = [sum(row[place] for place in places) for row in solved]
        best = [k for k, total in enumerate(sums) if total == max(sums)]
        for k in best:
            exact[k] += 1 / len(best) / draws
    assert best_shares(solved) == pytest.approx(exact, abs=0.03)
    assert sum(best_shares(solved)) == pytest.approx(1.0)
    for order in itertools.permutations(range(3)):
        shares = best_shares([solved[k] for k in order])
        assert shares == pytest.approx([best_shares(solved)[k] for k in order])
