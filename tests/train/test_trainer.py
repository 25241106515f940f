"""The trainer against naive twins: one example at a time, all at once, TRL's SFTTrainer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tests.train.tiny_train import ROWS, config, stir
from transformers import HfArgumentParser

from nlft.core import SaliencySettings, allocate, example_loss
from nlft.errors import ConfigError, DataError
from nlft.lm import encode_example, load_model
from nlft.lm.logprobs import _plain, path_logprobs
from nlft.lm.score import score_batch
from nlft.lm.wrappers import unwrap
from nlft.objectives import get_objective
from nlft.prompts import load_prompts
from nlft.records import Judged
from nlft.steps.step_weights import with_step_weights
from nlft.train import NLFTConfig, NLFTTrainer, encode_dataset, lora_config, scale_cache
from nlft.train.config import FINDS_NO_ERRORS


def trainer_for(folder: Path, tmp_path: Path, rows: Any = ROWS, **changes: Any) -> NLFTTrainer:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    adapter = lora_config(lm.model, lora_dropout=0.0)
    made = NLFTTrainer(lm.model, config(tmp_path, **changes), rows, peft_config=adapter, processing_class=lm.tokenizer)
    stir(made.model)
    return made


def gradients(made: NLFTTrainer, batches: list[list[int]]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one optimiser step over micro-batches of the training set."""
    made.model.train()
    made.model.zero_grad()
    micro = [made.data_collator([made.train_dataset[i] for i in rows]) for rows in batches]
    samples, count = made.get_batch_samples(iter(micro), len(micro), torch.device("cpu"))
    total = 0.0
    for batch in samples:
        loss = made.compute_loss(made.model, batch, num_items_in_batch=count)
        loss.backward()
        total += float(loss.detach())
    return total, {n: p.grad.clone() for n, p in made.model.named_parameters() if p.grad is not None}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    assert left.keys() == right.keys()
    assert left
    for name, value in right.items():
        torch.testing.assert_close(left[name], value, atol=tolerance * float(value.abs().max()) + 1e-10, rtol=tolerance)


def test_the_arguments_are_pickled_nowhere(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, objective="sft", max_steps=1, save_strategy="steps", save_steps=1)
    made.train()
    made.save_model()
    out = tmp_path / "out"
    assert {path.suffix for path in out.iterdir() if path.is_file()} == {".json", ".jinja", ".md", ".safetensors"}
    # What only resuming reads, and torch writes no other way.
    pickles = {path.name for path in (out / "checkpoint-1").iterdir() if path.suffix in (".bin", ".pt", ".pth")}
    assert pickles == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}


def test_training_all_weights_is_said_aloud_unless_meant(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said(**how: Any) -> list[str]:
        lm = load_model(str(folder), dtype="float32", device="cpu")
        caplog.clear()
        NLFTTrainer(lm.model, config(tmp_path, objective="sft"), ROWS, processing_class=lm.tokenizer, **how)
        return [row.getMessage() for row in caplog.records]

    (told,) = said()
    assert f"{load_model(str(folder)).model.num_parameters():,} weights" in told
    assert "peft_config=nlft.train.lora_config(model)" in told
    assert not said(full=True)
    adapter = lora_config(load_model(str(folder)).model)
    assert not said(peft_config=adapter)
    with pytest.raises(ConfigError, match="exclude each other"):
        said(peft_config=adapter, full=True)


def test_an_interrupted_epoch_leaves_no_trace_in_the_next_training(folder: Path, tmp_path: Path) -> None:
    """accelerate keeps the state of a loader that was left before its end, for all trainers of the process."""
    made = trainer_for(folder, tmp_path / "b", settings={"preset": "paper"})
    before, _ = gradients(made, [[0, 1, 2, 3]])
    ended = trainer_for(folder, tmp_path / "a", objective="sft", max_steps=2, per_device_train_batch_size=3)
    ended.train()
    made.model.zero_grad()
    after, _ = gradients(made, [[0, 1, 2, 3]])
    assert after == before


@pytest.mark.parametrize("preset", ["paper", "authors"])
def test_the_loss_is_algorithm_1_row_by_row(folder: Path, tmp_path: Path, preset: str) -> None:
    """Right and wrong rows in one batch; the naive twin runs every path alone."""
    settings = {"preset": preset, "p0_correct": 0.02, "filter_threshold": 0.9, "r0": 1.01, "ratio_threshold": None}
    made = trainer_for(folder, tmp_path, settings=settings)
    found, gradient = gradients(made, [[0, 1, 2, 3]])
    made.model.zero_grad()
    constants = SaliencySettings.from_mapping(settings)
    total = torch.zeros(())
    salient = 0
    for row in ROWS:
        example = encode_example(made.processing_class, row, load_prompts("short"))
        base = _plain(made.model, [example.base], 0)[0]
        judge = _plain(made.model, [example.judge], 0)[0].logp if example.judge else None
        with torch.no_grad():
            standard = _plain(made.model, [example.standard], 0)[0].logp
            allocation = allocate(base.logp, standard, judge, base.hidden_states, constants)
        salient += int(allocation.salient.sum())
        if preset == "paper" and judge is not None:
            judge = judge.detach()
        total = total + example_loss(base.logp, allocation, constants, judge).total / len(ROWS)
    total.backward()
    assert salient > 0
    assert found == pytest.approx(float(total.detach()), rel=1e-5)
    same(gradient, {n: p.grad for n, p in made.model.named_parameters() if p.grad is not None})


@pytest.mark.parametrize("average", ["example", "token"])
@pytest.mark.parametrize("objective", ["nlft", "sft", "cut", "dft", "sdft"])
def test_accumulated_is_one_large_batch(folder: Path, tmp_path: Path, objective: str, average: str) -> None:
    made = trainer_for(folder, tmp_path, objective=objective, loss_average=average)
    large, expected = gradients(made, [[0, 1, 2, 3]])
    for batches in ([[0], [1], [2], [3]], [[0, 1, 2], [3]]):  # the second ends with a smaller one, as epochs do
        found, gradient = gradients(made, batches)
        assert found == pytest.approx(large, rel=1e-6)
        same(gradient, expected)


@pytest.mark.parametrize("average", ["example", "token"])
def test_sft_is_trls_sft(folder: Path, tmp_path: Path, average: str) -> None:
    """Weight 1 on the response: TRL's SFTTrainer has the same loss and gradients (it averages over tokens)."""
    from trl import SFTConfig, SFTTrainer

    rows = ROWS if average == "token" else [ROWS[0]]  # for one row both averages are the same
    made = trainer_for(folder, tmp_path, rows, objective="sft", loss_average=average)
    found, gradient = gradients(made, [list(range(len(rows)))])
    examples = [
        {
            "input_ids": list(e.base.tokens),
            "completion_mask": [0] * len(e.base.prompt) + [1] * len(e.base.response),
        }
        for e in made.train_dataset.examples
    ]
    peer = SFTTrainer(
        load_model(str(folder), dtype="float32", device="cpu").model,
        SFTConfig(
            str(tmp_path / "trl"), completion_only_loss=True, max_length=None, use_cpu=True, bf16=False,
            activation_checkpointing=False, report_to="none", per_device_train_batch_size=4, disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(examples),
        processing_class=made.processing_class,
        peft_config=lora_config(made.model.get_base_model(), lora_dropout=0.0),
    )  # fmt: skip
    for name, parameter in peer.model.named_parameters():
        parameter.data.copy_(dict(made.model.named_parameters())[name].data)
    peer.model.train()
    batch = peer.data_collator([peer.train_dataset[i] for i in range(len(rows))])
    loss = peer.compute_loss(peer.model, batch)
    loss.backward()
    assert found == pytest.approx(float(loss.detach()), rel=1e-6)
    same(gradient, {n: p.grad for n, p in peer.model.named_parameters() if p.grad is not None})


def test_the_reference_can_take_the_responses_place(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, objective="sft", target="reference")
    texts = [made.processing_class.decode(e.response, skip_special_tokens=True) for e in made.train_dataset.examples]
    assert texts == [row.reference for row in ROWS]
    assert all(e.response[-1] == made.processing_class.eos_token_id for e in made.train_dataset.examples)


def test_once_runs_the_other_paths_a_single_time_and_reads_them_from_disk_after(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step = trainer_for(folder, tmp_path, scale_schedule="step")
    for name, parameter in step.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    expected = gradients(step, [[0, 1, 2, 3]])

    def run() -> NLFTTrainer:
        made = trainer_for(folder, tmp_path, scale_schedule="once")
        for name, parameter in made.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.zeros_(parameter)
        return made

    first = run()
    loss, gradient = gradients(first, [[0, 1, 2, 3]])
    # At the untouched model `once` and `step` are the same thing.
    assert loss == pytest.approx(expected[0], rel=1e-5)
    same(gradient, expected[1])
    lengths: list[int] = []
    layer = unwrap(first.model).model.layers[0]
    layer.register_forward_hook(lambda m, i, o: lengths.append((o[0] if isinstance(o, tuple) else o).shape[-2]))
    gradients(first, [[0, 1, 2, 3]])
    assert first.scale_cache.passes == 1
    unique = {e.base.tokens[: i + 1] for e in first.train_dataset.examples for i in range(len(e.base.tokens))}
    assert lengths == [len(unique)]  # one pass, over the base path only

    second = run()
    again, _ = gradients(second, [[0, 1, 2, 3]])
    assert again == loss
    assert second.scale_cache.passes == 0

    for stored in (tmp_path / "cache").glob("*.safetensors"):
        stored.write_bytes(stored.read_bytes()[:-9])
    third = run()
    assert gradients(third, [[0, 1, 2, 3]])[0] == loss, "what a crash has damaged is recomputed"
    assert third.scale_cache.passes == 1
    assert "cannot read" in caplog.text


def test_an_excluded_row_is_not_run_again(folder: Path, tmp_path: Path) -> None:
    """Its loss and its gradient are 0 either way: `step` runs it, `once` knows before."""
    settings = {
        "filter_threshold": 1e-9,
        "p0_incorrect": 0.0,
        "r0": 1e-9,
    }  # every wrong row has an error, so none stays
    step, once = (
        trainer_for(folder, tmp_path, scale_schedule=schedule, settings=settings) for schedule in ("step", "once")
    )
    for name, parameter in [*step.model.named_parameters(), *once.model.named_parameters()]:
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    examples = once.train_dataset.examples
    stored = once.scale_cache.lookup(once.model, examples, epoch=0)
    assert [allocation.excluded for allocation in stored if allocation] == [not e.correct for e in examples]

    run: list[int] = []
    layer = unwrap(once.model).model.layers[0]
    layer.register_forward_hook(lambda m, i, o: run.append((o[0] if isinstance(o, tuple) else o).shape[-2]))
    loss, gradient = gradients(once, [[0, 1, 2, 3]])
    right = [examples[0].base.tokens, examples[2].base.tokens]
    assert run == [len({tokens[: i + 1] for tokens in right for i in range(len(tokens))})]
    expected = gradients(step, [[0, 1, 2, 3]])
    assert loss == pytest.approx(expected[0], rel=1e-5)
    same(gradient, expected[1])

    run.clear()
    loss, gradient = gradients(once, [[1, 3]])  # nothing but excluded rows: the shorter one is run
    assert run == [min(len(examples[1].base.tokens), len(examples[3].base.tokens))]
    assert loss == 0
    assert not any(value.any() for value in gradient.values())


def test_the_untouched_model_cannot_be_scored_once_all_its_weights_are_trained(folder: Path, tmp_path: Path) -> None:
    """Resumed without its cached scales, a run would take those of the trained model for them."""
    lm = load_model(str(folder), dtype="float32", device="cpu")
    settings = config(tmp_path, scale_schedule="once")
    made = NLFTTrainer(lm.model, settings, ROWS, processing_class=lm.tokenizer)
    examples = made.train_dataset.examples
    with pytest.raises(DataError, match="not in the cache"):
        made.scale_cache.lookup(made.model, examples, epoch=0.5)
    first = made.scale_cache.lookup(made.model, examples, epoch=0)
    again = NLFTTrainer(lm.model, settings, ROWS, processing_class=lm.tokenizer)
    with torch.no_grad():
        lm.model.lm_head.weight.mul_(2)  # as the checkpoint's weights come after those the run began with
    later = again.scale_cache.lookup(again.model, examples, epoch=0.5)
    assert [torch.equal(one.scale, two.scale) for one, two in zip(first, later, strict=True) if one and two] == [
        True
    ] * 4


def test_zero_3_keeps_no_key_for_the_scales_of_an_epoch(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, scale_schedule="epoch")
    for parameter in made.model.parameters():
        parameter.ds_id = 1  # as DeepSpeed marks what it has spread
    with pytest.raises(ConfigError, match="ZeRO-3"):
        made.scale_cache.lookup(made.model, made.train_dataset.examples, epoch=1)


def test_every_weight_counts_for_the_key_of_stored_scales(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_cache, "WEIGHTS_PER_PART", 100)

    def key(change: float) -> str | None:
        lm = load_model(str(folder), dtype="float32", device="cpu")
        lm.model.lm_head.weight.data[-1, -1] += change
        settings = config(tmp_path, scale_schedule="once")
        return NLFTTrainer(lm.model, settings, ROWS, processing_class=lm.tokenizer).scale_cache.digest

    assert key(0.0) == key(0.0) != key(1e-3)


def test_once_means_the_untouched_model_even_with_a_trained_adapter(folder: Path, tmp_path: Path) -> None:
    plain, trained = (trainer_for(folder, tmp_path / str(i), scale_schedule="once") for i in range(2))
    for name, parameter in plain.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    examples = plain.train_dataset.examples
    left = plain.scale_cache.lookup(plain.model, examples, epoch=0)
    right = trained.scale_cache.lookup(trained.model, examples, epoch=3)
    for one, two in zip(left, right, strict=True):
        assert one is not None
        assert two is not None
        torch.testing.assert_close(one.scale, two.scale)


def test_epoch_weighs_anew_at_each_epoch(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, scale_schedule="epoch", num_train_epochs=3, per_device_train_batch_size=2)
    made.train()
    assert made.scale_cache.passes == 3


@pytest.mark.parametrize("objective", ["cut", "dft", "nlft", "sft"])
def test_every_objective_makes_right_responses_likelier(folder: Path, tmp_path: Path, objective: str) -> None:
    rows = [ROWS[0], ROWS[2]]
    made = trainer_for(
        folder, tmp_path, rows, objective=objective, max_steps=12, learning_rate=2e-2, scale_schedule="once"
    )
    paths = [example.base for example in made.train_dataset.examples]

    def likelihood() -> float:
        with torch.no_grad():
            return float(sum(scored.logp.sum() for scored in _plain(made.model.eval(), paths, 0)))

    before = likelihood()
    made.train()
    assert likelihood() > before


def test_sdft_draws_the_student_to_its_teacher(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, objective="sdft", max_steps=12, learning_rate=1e-2)
    before, _ = gradients(made, [[0, 1, 2, 3]])
    made.train()
    assert gradients(made, [[0, 1, 2, 3]])[0] < before


def test_sdfts_teacher_is_the_untouched_model(folder: Path, tmp_path: Path) -> None:
    made = trainer_for(folder, tmp_path, objective="sdft")  # with its adapter moved, as training would
    examples = made.train_dataset.examples
    paths = [example.standard for example in examples]
    with torch.no_grad():
        drifted, _ = path_logprobs(made.model, paths, top_k=20)
        with made.model.disable_adapter():
            still, _ = path_logprobs(made.model, paths, top_k=20)
        rows = score_batch(made.model, examples, made.objective)
    for row, then, now in zip(rows, still, drifted, strict=True):
        assert (now.top[0] - then.top[0]).abs().max() > 0.01
        torch.testing.assert_close(row.top_standard.logp_standard, then.top[0])


def test_sdft_without_an_adapter_has_no_teacher(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder))
    with pytest.raises(ConfigError, match="needs an adapter to train"):
        NLFTTrainer(lm.model, config(tmp_path, objective="sdft"), ROWS, processing_class=lm.tokenizer)


def test_a_column_of_weights_is_an_objective(folder: Path, tmp_path: Path) -> None:
    count = len(ROWS[2].response)
    row = Judged.model_validate({**ROWS[2].model_dump(), "token_weights": [2.0] * count})
    weighed = gradients(trainer_for(folder, tmp_path, [row], objective="token-weights"), [[0]])[0]
    with torch.no_grad():
        logp = _plain(trainer_for(folder, tmp_path, [row]).model, [encode(folder, row).base], 0)[0].logp
    assert weighed == pytest.approx(float(-(2 * logp[:-1].sum() + logp[-1]) / len(logp)), rel=1e-5)
    wrong = Judged.model_validate({**ROWS[2].model_dump(), "token_weights": [2.0] * (count + 5)})
    with pytest.raises(DataError, match="token_weights must be"):
        trainer_for(folder, tmp_path, [wrong], objective="token-weights")


def encode(folder: Path, row: Judged) -> Any:
    return encode_example(load_model(str(folder), dtype="float32").tokenizer, row, load_prompts("short"))


def test_rows_that_cannot_be_trained_on(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    made = trainer_for(folder, tmp_path)
    with pytest.raises(DataError, match="the response is empty"):
        trainer_for(folder, tmp_path, [ROWS[0].model_copy(update={"response": "  "})])
    with pytest.raises(DataError, match=r"row 'a': \d+ tokens, but the model takes 10"):
        trainer_for(folder, tmp_path, max_length=10)
    unjudged = ROWS[1].model_copy(update={"judgment": None})
    dataset = encode_dataset([ROWS[0], unjudged], lm.tokenizer, load_prompts("short"), objective=made.objective)
    assert len(dataset) == 1
    assert "1 incorrect rows have no judgment" in caplog.text
    with pytest.raises(DataError, match="no rows left"):
        encode_dataset([unjudged], lm.tokenizer, load_prompts("short"), objective=made.objective)
    with pytest.raises(ConfigError, match='no module "gate_prj"'):
        lora_config(lm.model, target_modules=["gate_prj"])
    with pytest.raises(ConfigError, match='there is no objective "nltf"'):
        config(tmp_path, objective="nltf")
    with pytest.raises(ConfigError, match="split_batches is always False here"):
        config(tmp_path, accelerator_config={"split_batches": True})
    with pytest.raises(ConfigError, match='scale_schedule cannot be "always"'):
        config(tmp_path, scale_schedule="always")


def test_the_settings_can_come_from_a_command_line(tmp_path: Path) -> None:
    """As TRL's users write their scripts."""
    words = ["--output_dir", str(tmp_path), "--objective", "cut", "--scale_schedule", "once", "--learning_rate", "1e-3"]
    words += ["--use_cpu", "true", "--settings", '{"c1": 3.0}', "--objective_options", '{"threshold": 1.5}']
    (read,) = HfArgumentParser(NLFTConfig).parse_args_into_dataclasses(words)
    assert (read.objective, read.scale_schedule, read.learning_rate) == ("cut", "once", 1e-3)
    assert read.saliency().c1 == 3.0
    assert read.objective_options == {"threshold": 1.5}
    with pytest.raises(ConfigError, match="settings is not a JSON object"):
        NLFTConfig(str(tmp_path), settings="[1]")
    (plain,) = HfArgumentParser(NLFTConfig).parse_args_into_dataclasses(["--output_dir", str(tmp_path)])
    assert plain.saliency() == SaliencySettings.paper()


def test_a_hub_data_set_will_do(folder: Path, tmp_path: Path) -> None:
    dataset = Dataset.from_list([row.model_dump() for row in ROWS])
    assert gradients(trainer_for(folder, tmp_path, dataset), [[0, 1]])[0] == pytest.approx(
        gradients(trainer_for(folder, tmp_path), [[0, 1]])[0]
    )


def test_an_evaluation_loss(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    made = NLFTTrainer(
        lm.model, config(tmp_path, objective="sft"), ROWS, eval_dataset=ROWS[:2], processing_class=lm.tokenizer,
        peft_config=lora_config(lm.model, lora_dropout=0.0),
    )  # fmt: skip
    loss = made.evaluate()["eval_loss"]
    assert loss > 0
    assert made.evaluate(ROWS[:2])["eval_loss"] == loss
    assert made.evaluate(ROWS[2:])["eval_loss"] != loss


def test_evaluation_rows_by_name(folder: Path, tmp_path: Path) -> None:
    lm = load_model(str(folder), dtype="float32", device="cpu")
    given: dict[str, Any] = {"processing_class": lm.tokenizer, "peft_config": lora_config(lm.model, lora_dropout=0.0)}
    parts = {"early": ROWS[:2], "late": ROWS[2:]}
    with pytest.raises(ConfigError, match="compute_metrics"):
        NLFTTrainer(lm.model, config(tmp_path), ROWS, compute_metrics=lambda _: {}, **given)
    made = NLFTTrainer(lm.model, config(tmp_path, objective="sft"), ROWS, eval_dataset=parts, **given)
    found = made.evaluate()
    assert found["eval_early_loss"] == made.evaluate(parts["early"])["eval_loss"]
    assert made.evaluate(parts)["eval_late_loss"] == found["eval_late_loss"] != found["eval_early_loss"]


def test_an_id_that_comes_twice_is_refused(folder: Path) -> None:
    """Scales are kept by id, so two rows of one id would take each other's."""
    lm = load_model(str(folder), dtype="float32", device="cpu")
    twice = [ROWS[0], ROWS[1].model_copy(update={"id": ROWS[0].id})]
    with pytest.raises(DataError, match="rows 1 and 2 have the same id 'a'"):
        encode_dataset(twice, lm.tokenizer, load_prompts("short"), objective=get_objective("sft", SaliencySettings()))


def test_former_names_of_the_arguments_are_accepted_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match="weights= is now called scale_schedule="):
        made = NLFTConfig(str(tmp_path), weights="once")  # type: ignore[call-arg]
    assert made.scale_schedule == "once"
    with pytest.warns(FutureWarning, match="on= is now called target="):
        made = NLFTConfig(str(tmp_path), on="reference")  # type: ignore[call-arg]
    assert made.target == "reference"


WEIGHTS = [{"text": "5 #", "weight": -1.0}, {"text": "3+", "weight": 0.25}]


@pytest.mark.parametrize("objective", ["sft", "dft", "sdft", "cut", "nlft"])
def test_weights_by_text_are_a_factor_of_any_objective(objective: str, folder: Path, tmp_path: Path) -> None:
    """The gradient is that of the sum of w_t times each token's own term, taken one token at a time."""
    settings = {"preset": "paper", "filter": "off"}
    row = ROWS[1].model_copy(update={"weights": WEIGHTS, "marks": [{"text": "3+4=5 #"}]})
    made = trainer_for(folder, tmp_path / "a", [row], objective=objective, settings=settings)
    _, found = gradients(made, [[0]])
    (example,) = made.train_dataset.examples
    assert sorted(set(example.span_weights)) == [-1.0, 0.25, 1.0]
    plain = trainer_for(
        folder, tmp_path / "b", [row.model_copy(update={"weights": None})], objective=objective, settings=settings
    )
    made_objective = plain.objective
    expected: dict[str, torch.Tensor] = {}
    plain.model.train()
    for place, weight in enumerate(example.span_weights):
        plain.model.zero_grad()
        (scored,) = score_batch(plain.model, plain.train_dataset.examples, made_objective)

        def only(logp: torch.Tensor | None, place: int = place) -> torch.Tensor | None:
            if logp is None:
                return None
            keep = torch.arange(len(logp)) == place
            return torch.where(keep.view(-1, *[1] * (logp.dim() - 1)), logp, logp.detach())

        alone = replace(scored, logp_base=only(scored.logp_base), logp_judge=only(scored.logp_judge))
        if (top := scored.top_standard) is not None:
            alone = replace(alone, top_standard=replace(top, logp_base=only(top.logp_base)))
        loss = made_objective.loss(alone, made_objective.weigh(alone)).total
        if not loss.requires_grad:
            continue
        loss.backward()
        for name, parameter in plain.model.named_parameters():
            if parameter.grad is not None:
                expected[name] = expected.get(name, 0) + weight * parameter.grad
    same(found, expected, 2e-4)
    _, unweighed = gradients(plain, [[0]])
    assert any((found[name] - unweighed[name]).abs().max() > 0.01 * unweighed[name].abs().max() for name in found)


def test_weights_by_text_alone_are_token_weights(folder: Path, tmp_path: Path) -> None:
    """As spans under `token-weights`, as a factor under `sft`, and as a column of numbers: one gradient."""
    spans = ROWS[1].model_copy(update={"weights": WEIGHTS})
    made = trainer_for(folder, tmp_path / "a", [spans], objective="token-weights")
    loss, found = gradients(made, [[0]])
    (example,) = made.train_dataset.examples
    assert example.span_weights is None
    column = ROWS[1].model_copy(update={"token_weights": list(example.token_weights)})
    by_column, other = gradients(trainer_for(folder, tmp_path / "b", [column], objective="token-weights"), [[0]])
    same(found, other)
    assert loss == pytest.approx(by_column)
    _, factor = gradients(trainer_for(folder, tmp_path / "c", [spans], objective="sft"), [[0]])
    same(factor, other)


@pytest.mark.parametrize("objective", ["nlft", "cut", "first-error", "clipped-ratio"])
def test_what_a_person_marked_is_the_error(objective: str, folder: Path, tmp_path: Path) -> None:
    """Whatever the thresholds and the filter say: here no token passes the one, and all would pass the other."""
    row = ROWS[1].model_copy(update={"marks": [{"text": "="}, {"start": 10, "end": 11}]})  # "3+4=5 #### 5"
    rows = with_step_weights([row], load_model(str(folder), device="cpu").tokenizer)
    strict = {"preset": "paper", "ratio_threshold": 1e6, "filter_threshold": 0.0}
    options = {} if objective == "nlft" else {"threshold": 1e6}
    made = trainer_for(folder, tmp_path / "a", rows, objective=objective, settings=strict, objective_options=options)
    (example,) = made.train_dataset.examples
    marked = [place for place, mark in enumerate(example.marks) if mark]
    assert marked == [3, 10]
    (scored,) = score_batch(made.model, [example], made.objective)
    allocation = made.objective.weigh(scored)
    assert [place for place, error in enumerate(allocation.salient.tolist()) if error] == marked
    assert not allocation.excluded
    assert all(float(allocation.scale[place]) > 0 for place in marked)
    ignoring = trainer_for(
        folder, tmp_path / "b", rows, objective=objective, settings=strict, objective_options=options, marks="ignore"
    )
    (unmarked,) = ignoring.train_dataset.examples
    assert unmarked.marks is None


MARKED = ROWS[1].model_copy(update={"marks": [{"text": "5 #"}]})


@pytest.mark.parametrize("objective", sorted(FINDS_NO_ERRORS - {"pairs", "reft"}))
def test_marks_and_weights_that_are_not_read_are_counted_aloud(
    objective: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        ROWS[0].model_copy(update={"weights": [{"text": "4", "weight": 0.5}]}),
        MARKED.model_copy(update={"weights": WEIGHTS}),
    ]
    trainer_for(folder, tmp_path, rows, objective=objective)
    assert caplog.messages == [f"1 rows have marks, which {objective} does not read: it looks for no errors"]
    caplog.clear()
    trainer_for(folder, tmp_path, rows, objective=objective, marks="ignore")
    assert caplog.messages == []
    if objective == "sft":
        trainer_for(folder, tmp_path, rows, objective=objective, target="reference")
        why = "which sft does not read: the standard answers are trained, not the responses"
        assert caplog.messages == [f"2 rows have weights, {why}", f"1 rows have marks, {why}"]


def test_objectives_that_read_the_marks_say_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer_for(folder, tmp_path, [ROWS[0], MARKED], objective="nlft")
    assert caplog.messages == []
