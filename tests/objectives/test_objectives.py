"""Objectives: each against its formula written out, and the interface they share."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from nlft.core import SaliencySettings, allocate, example_loss
from nlft.errors import ConfigError, DataError
from nlft.objectives import Example, Needs, Objective, TopTokens, available, get_objective, register

# Not available(): a doctest of the same session registers one of its own.
SHIPPED = ["cut", "dft", "nlft", "sdft", "sft", "token-weights"]
PAPER, AUTHORS = SaliencySettings.paper(), SaliencySettings.authors()


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def example(n=30, seed=0, *, correct=True, grad=True, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    base, standard, judge = (torch.rand(n, generator=rng, dtype=torch.float64).log().to(dtype) for _ in range(3))
    return Example(
        base.requires_grad_(grad),
        correct,
        standard,
        None if correct else judge.requires_grad_(grad),
        torch.randn(n, 4, generator=rng, dtype=torch.float64).to(dtype),
        torch.rand(n, generator=rng, dtype=torch.float64).to(dtype),
        TopTokens(
            torch.randn(n, 5, generator=rng, dtype=torch.float64).to(dtype) - 4,
            (torch.randn(n, 5, generator=rng, dtype=torch.float64).to(dtype) - 4).requires_grad_(grad),
        ),
    )


def test_the_names():
    assert set(SHIPPED) <= set(available())
    assert all(get_objective(name).name == name for name in SHIPPED)


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("settings", [PAPER, AUTHORS, PAPER.replace(filter="off"), PAPER.replace(cluster="none")])
def test_nlft_is_the_facade(settings, correct):
    row = example(correct=correct)
    objective = get_objective("nlft", settings)
    allocation = objective.weigh(row)
    expected = allocate(row.logp_base, row.logp_standard, row.logp_judge, row.hidden_states, settings)
    assert allocation.scale.tolist() == expected.scale.tolist()
    loss = objective.loss(row, allocation)
    facade = example_loss(row.logp_base, expected, settings, row.logp_judge)
    torch.testing.assert_close(loss.total, facade.total, rtol=0, atol=0)
    parts = {name: float(value) for name, value in loss.parts.items()}
    assert parts["share_salient"] == pytest.approx(allocation.salient.double().mean().item())
    sub = (allocation.cluster & ~allocation.salient).double().mean().item() if correct else 0.0
    assert parts["share_sub_salient"] == pytest.approx(sub)
    assert parts["excluded"] == float(allocation.excluded)
    assert parts["mean_scale"] == pytest.approx(allocation.scale.mean().item())
    assert parts["weighted"] == pytest.approx(facade.weighted.item())
    assert parts["likelihood"] == pytest.approx(facade.likelihood.item())
    assert not any(value.requires_grad for value in loss.parts.values())


def test_nlft_weighs_by_itself_where_nothing_is_stored():
    row, objective = example(), get_objective("nlft")
    assert objective.loss(row, None).total.item() == objective.loss(row, objective.weigh(row)).total.item()


def test_nlft_needs():
    paper, authors = get_objective("nlft"), get_objective("nlft", AUTHORS)
    assert paper.needs(correct=True) == Needs(frozenset({"standard"}), frozenset(), hidden_states=True)
    assert paper.needs(correct=False).weigh == {"standard", "judge"}
    assert paper.needs(correct=False).loss == frozenset()
    assert authors.needs(correct=True).loss == frozenset()
    assert authors.needs(correct=False).loss == {"judge"}
    blind = get_objective("nlft", PAPER.replace(use_judge=False))
    assert blind.needs(correct=False) == Needs()
    assert blind.weigh(Example(tensor([-1.0]), correct=False)).excluded
    assert not get_objective("nlft", PAPER.replace(cluster="none")).needs(correct=True).hidden_states


def test_needs_are_enough_and_all_that_is_read():
    for name in SHIPPED:
        for settings in (PAPER, AUTHORS):
            for correct in (True, False):
                objective, row = get_objective(name, settings), example(correct=correct)
                needs = objective.needs(correct=correct)
                given = replace(
                    row,
                    logp_standard=row.logp_standard if "standard" in needs.weigh | needs.loss else None,
                    logp_judge=row.logp_judge if "judge" in needs.weigh | needs.loss else None,
                    hidden_states=row.hidden_states if needs.hidden_states else None,
                    top_standard=row.top_standard if needs.top_k else None,
                )
                allocation = objective.weigh(given)
                # With stored weights only what `loss` names is there.
                later = replace(given, logp_standard=None, hidden_states=None)
                later = later if "judge" in needs.loss else replace(later, logp_judge=None)
                a, b = objective.loss(given, allocation).total, objective.loss(later, allocation).total
                assert a.item() == b.item()


def test_sft():
    row = example()
    loss = get_objective("sft").loss(row, None)
    torch.testing.assert_close(loss.total, -row.logp_base.mean())
    logits = torch.randn(7, 11, dtype=torch.float64)
    ids = torch.arange(7)
    logp = torch.log_softmax(logits, -1)[ids, ids]
    torch.testing.assert_close(get_objective("sft").loss(Example(logp, True), None).total, F.cross_entropy(logits, ids))


def test_dft_has_the_gradient_of_a_detached_weight():
    row = example()
    loss = get_objective("dft").loss(row, None).total
    p = row.logp_base.detach().exp()
    torch.testing.assert_close(loss, -(p * p.log()).mean())
    loss.backward()
    torch.testing.assert_close(row.logp_base.grad, -p / len(p))


def test_token_weights():
    row = Example(tensor([-1.0, -2.0, -3.0], grad=True), True, token_weights=tensor([1.0, 0.0, -0.5]))
    loss = get_objective("token-weights").loss(row, None)
    assert loss.total.item() == pytest.approx(-(-1.0 + 1.5) / 3)
    loss.total.backward()
    torch.testing.assert_close(row.logp_base.grad, tensor([-1 / 3, 0.0, 0.5 / 3]))
    with pytest.raises(DataError, match="needs token weights"):
        get_objective("token-weights").loss(Example(tensor([-1.0]), True), None)


def test_cut_by_hand():
    # p+/p- = 1.6 > 1.2: an error; 0.5 / 0.5 = 1: none.
    base, judge = tensor([0.5, 0.5]).log().requires_grad_(), tensor([0.8, 0.5]).log().requires_grad_()
    objective = get_objective("cut", threshold=1.2, weight=0.7)
    row = Example(base, False, logp_judge=judge)
    allocation = objective.weigh(row)
    assert allocation.salient.tolist() == [True, False]
    loss = objective.loss(row, allocation).total
    positive = -(math.log(0.8) + math.log(0.5)) / 2
    unlikely = -(0.7 * math.log(1 - 0.5) + math.log(0.5)) / 2
    assert loss.item() == pytest.approx((positive + unlikely) / 2, rel=1e-12)
    loss.backward()
    # d/dlog p of -w log(1 - p) is w p / (1 - p) = 0.7; of -log p it is -1; each over 2 tokens, halved.
    torch.testing.assert_close(base.grad, tensor([0.7, -1.0]) / 4)
    torch.testing.assert_close(judge.grad, tensor([-1.0, -1.0]) / 4)


def test_cut_of_a_right_row_is_sft():
    row, cut = example(), get_objective("cut")
    assert cut.needs(correct=True) == Needs()
    expected = get_objective("sft").loss(row, None).total
    torch.testing.assert_close(cut.loss(row, cut.weigh(row)).total, expected)
    with pytest.raises(DataError, match="nlft judge"):
        cut.weigh(Example(tensor([-1.0]), correct=False))


def test_sdft_over_the_whole_vocabulary_is_cross_entropy():
    rng = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(6, 9, generator=rng) for _ in range(2))
    student.requires_grad_()
    top = TopTokens(teacher.log_softmax(-1), student.log_softmax(-1))
    loss = get_objective("sdft", top_k=9).loss(Example(torch.zeros(6), True, top_standard=top), None)
    torch.testing.assert_close(loss.total, F.cross_entropy(student, teacher.softmax(-1)))
    assert loss.parts["teacher_covered"].item() == pytest.approx(1.0)
    loss.total.backward()
    torch.testing.assert_close(student.grad, (student.softmax(-1) - teacher.softmax(-1)) / 6, rtol=1e-4, atol=1e-6)


def test_sdft_renormalises_what_it_sees():
    top = TopTokens(tensor([[0.6, 0.2]]).log(), tensor([[0.5, 0.1]]).log())
    loss = get_objective("sdft", top_k=2).loss(Example(tensor([-1.0]), False, top_standard=top), None)
    assert loss.total.item() == pytest.approx(-(0.75 * math.log(0.5) + 0.25 * math.log(0.1)), rel=1e-6)
    assert loss.parts["teacher_covered"].item() == pytest.approx(0.8, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", SHIPPED)
def test_half_precision_is_summed_in_single(name, dtype):
    for correct in (True, False):
        low = example(correct=correct, dtype=dtype)
        high = replace(
            low,
            **{
                key: value.detach().double()
                for key, value in vars(low).items()
                if isinstance(value, torch.Tensor)
            },
            top_standard=TopTokens(low.top_standard.logp_standard.double(), low.top_standard.logp_base.double()),
        )  # fmt: skip
        objective = get_objective(name)
        ours = objective.loss(low, objective.weigh(low)).total
        assert ours.dtype == torch.float32
        reference = objective.loss(high, objective.weigh(high)).total
        torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=1e-6)
        ours.backward() if ours.requires_grad else None


@pytest.mark.parametrize("name", SHIPPED)
def test_no_loss_waits_for_the_device(name):
    for correct in (True, False):
        row, objective = example(correct=correct, dtype=torch.float32), get_objective(name, AUTHORS)
        allocation = objective.weigh(row)
        top = row.top_standard
        there = replace(
            row,
            **{k: v.detach().to("meta") for k, v in vars(row).items() if isinstance(v, torch.Tensor)},
            top_standard=TopTokens(top.logp_standard.to("meta"), top.logp_base.detach().to("meta")),
        )
        objective.loss(there, None if allocation is None else allocation.to("meta"))


def test_a_row_of_all_zero_scales_still_has_a_gradient_path():
    # The trainer calls backward on every batch, also on one whose rows are all excluded.
    row = example(correct=False)
    objective = get_objective("nlft")
    allocation = objective.weigh(row)
    assert allocation.excluded
    loss = objective.loss(row, allocation).total
    loss.backward()
    assert row.logp_base.grad.tolist() == [0.0] * 30


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("nltf", {}, 'no objective "nltf".*did you mean "nlft"'),
        ("cut", {"treshold": 1.1}, 'no option "treshold".*did you mean "threshold"'),
        ("sft", {"threshold": 1.1}, "it has no options"),
        ("cut", {"threshold": "high"}, "threshold cannot be 'high'"),
        ("cut", {"threshold": 0.0}, "threshold cannot be 0"),
        ("cut", {"weight": math.nan}, "weight cannot be nan"),
        ("sdft", {"top_k": 0}, "top_k cannot be 0"),
        ("sdft", {"top_k": 2.5}, "top_k cannot be 2.5"),
        ("sdft", {"top_k": True}, "top_k cannot be True"),
    ],
)
def test_refused(name, options, says):
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        get_objective(name, **options)


def test_an_objective_without_a_loss_is_refused_before_it_trains():
    class Idle(Objective):
        name = "idle"

    with pytest.raises(ConfigError, match='"idle" has no loss'):
        register(Idle)
    with pytest.raises(ConfigError, match='no objective "idle"'):
        get_objective("idle")


def test_names_are_not_taken_over():
    class Impostor(type(get_objective("sft"))):
        name = "nlft"

    class Nameless(type(get_objective("sft"))):
        name = ""

    for kind in (Impostor, Nameless):
        with pytest.raises(ConfigError, match="cannot have the name"):
            register(kind)
    assert type(get_objective("nlft")).__name__ == "NLFT"


def test_cuts_threshold_is_that_of_its_scripts():
    assert get_objective("cut").threshold == 1.1
