"""The recipe small-domains: its draws are what its README says, and its methods are trainable rows."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from nlft.objectives import get_objective
from nlft.steps.arithmetic import equations
from nlft.steps.first_error import locate_first_error, quoted_correction

FOLDER = Path(__file__).parents[2] / "recipes" / "small-domains"
NUMERIC = ["small-sums", "pair-sums", "equations", "few-legs", "gsm-counts", "gsm-prices"]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("draws")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("screen")


@pytest.mark.parametrize("script", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_every_script_finds_what_it_imports(script: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    assert import_module(script).__doc__


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("form", ["worked", "final"])
def test_a_teachers_mixture_is_85_percent_right_and_its_errors_are_found(draws, name: str, form: str):
    rows = draws.training_rows(name, 50, 1, form)
    assert rows == draws.training_rows(name, 50, 1, form)
    assert sum(row.verdict.correct for row in rows) == 42
    dev = {problem.question for problem in draws.draw(name, 200, draws.DEV_SEED)}
    assert not dev & {row.question for row in rows}
    for row in rows:
        assert (row.judgment is None) == row.verdict.correct
        assert row.verdict.correct or locate_first_error(row).wrong is not None
        assert (row.reference.count("\n") == 0) == (form == "final")


def test_draws_share_few_problems(draws):
    one, two = ({row.question for row in draws.training_rows("gsm-counts", 50, seed)} for seed in (1, 2))
    assert not one & two


def test_forms_differ_in_nothing_that_is_trained_on(draws):
    worked, final = (draws.training_rows("equations", 50, 1, form) for form in ("worked", "final"))
    assert [row.response for row in worked] == [row.response for row in final]


def test_every_method_names_rows_and_an_objective_there_is(draws, screen):
    rows = draws.training_rows("small-sums", 50, 1)
    sizes = {name: len(screen.rows_for(rows, method.get("rows", "all"))) for name, method in screen.METHODS.items()}
    assert sizes["sft-response"] == sizes["sft-mixed"] == sizes["sft-reference"] == sizes["cut"] == 50
    assert sizes["sft-correct"] == 42
    assert sizes["sft-both"] == sizes["first-error-both"] == 100
    assert sizes["first-error-mixed"] == 58
    for method in screen.METHODS.values():
        get_objective(method["objective"], **method.get("options", {}))
        picked = screen.rows_for(rows, method.get("rows", "all"))
        assert len({row.id for row in picked}) == len(picked)


@pytest.mark.parametrize("name", ["small-sums", "few-legs", "gsm-small", "pair-sums"])
def test_a_misreading_calculates_correctly_and_the_expert_names_its_step(draws, name: str):
    rows = draws.training_rows(name, 50, 1, "final", "poor", "misreads")
    wrong = [row for row in rows if not row.verdict.correct]
    assert len(wrong) == (29 if name == "gsm-small" else 40), "29: as many solutions as can be misread"
    for row in wrong:
        located, correction = locate_first_error(row), quoted_correction(row.judgment)
        assert all(step.verdict == "right" for step in equations(row.response))
        assert located.wrong is not None
        assert correction not in row.response[: located.wrong[1]]
        assert row.judgment.count('"') == 4, "the wrong step and the right one, and nothing else of the solution"
    solved = draws.training_rows(name, 50, 1, "worked", "poor", "misreads")
    assert all(quoted_correction(row.judgment) in row.reference for row in solved if row.judgment)


def test_the_comparison_trains_on_the_rows_it_names(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    compare = import_module("compare")
    suite = compare.Suite("model", tmp_path, "few-legs", "worked", "poor", 1)
    rows = {method: suite.rows(method, 1e-3) for method in compare.PLAIN}
    assert {method: len(found) for method, found in rows.items()} == {
        "sft-response": 50, "sft-correct": 10, "sft-mixed": 50, "sft-reference": 50, "sft-both": 100,
    }  # fmt: skip
    assert all(row.response == row.reference for row in rows["sft-reference"])
    assert not set(suite.known()) & {p.question for p in compare.draw("few-legs", 50, 1000, exclude=suite.known())}


def test_the_bootstrap_takes_domains_draws_and_problems(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    report = import_module("report")
    mean, low, high, p = report.bootstrap([[[0.5] * 20] * 2] * 3)
    assert (mean, low, high, p) == (0.5, 0.5, 0.5, 1e-4)
    mean, low, high, p = report.bootstrap([[[1.0] * 20], [[-1.0] * 20]])
    assert (mean, low, high) == (0.0, -1.0, 1.0), "two domains that disagree leave everything open"
    assert p > 0.5
    small, large = (report.bootstrap([[[1.0, -1.0, 1.0, 0.0] * n]])[1] for n in (5, 500))
    assert small < 0 < large, "more problems make the interval of one domain narrower"


def test_the_best_plain_sft_is_chosen_in_each_domain_over_its_finished_draws(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    report = import_module("report")
    told = {"sft-response": ("1100", "1100"), "sft-correct": ("1110", "0000"), "sft-mixed": ("0000", "0000")}
    told |= {"sft-reference": ("0001", "0001"), "sft-both": ("0000", "0000")}
    cells = {
        ("few-legs", "final", draw, method): SimpleNamespace(solved={"flexible": digits[draw - 1]})
        for method, digits in told.items()
        for draw in (1, 2)
    }
    cells["small-sums", "final", 1, "sft-response"] = SimpleNamespace(
        solved={"flexible": "1111"}
    )  # the others are missing
    assert report.whole(cells) == {}, "a draw counts when all its methods are finished"
    best = report.best_plain(cells, ["final"])
    assert {key[:3]: cell.solved["flexible"] for key, cell in best.items()} == {
        ("few-legs", "final", 1): "1100", ("few-legs", "final", 2): "1100",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ("4 * 6 = 24\n24 - 5 = 19\n#### 19", 19),
        ("4 * 6 = 25\n25 - 5 = 18\n#### 18", 19),  # both miscalculated, the plan is right
        ("4 + 6 = 10\n10 - 5 = 5\n#### 5", 5),  # calculated right, the plan is another
        ("He has 4 x 6 = 30 pens.\nSo 30 pens - 5 = 24 pens remain.\n#### 24", 19),
        ("It is 19.\n#### 19", None),
        ("4 * 6 = 25\n" * 40 + "#### 25", 24),
    ],
)
def test_a_plan_is_worked_out_from_the_responses_own_equations(monkeypatch, response, value):
    monkeypatch.syspath_prepend(str(FOLDER))
    assert import_module("plan").planned_value(response) == value


def test_a_peers_teacher_sees_what_the_row_holds_and_its_reward_is_the_final_answer(
    draws, monkeypatch: pytest.MonkeyPatch
):
    peers = import_module("peers")
    rows = draws.training_rows("few-legs", 50, 1, "final", "poor", "misreads")
    place = next(i for i, row in enumerate(rows) if not row.verdict.correct)
    wrong = rows[place]
    assert all(part in peers.shown(wrong) for part in (wrong.response, wrong.judgment, wrong.reference))
    right = next(row for row in rows if row.verdict.correct)
    assert right.response in peers.shown(right)
    told = [[{"role": "assistant", "content": text}] for text in (wrong.response, f"so\n{wrong.reference}")]
    assert peers.rewarder(rows)(told, row=[place, place]) == [0.0, 1.0]
