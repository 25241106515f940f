"""The real command: what it writes is loaded by others, and answers as the adapter does."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.export.conftest import make_adapter
from tests.tiny import tiny_model

from nlft.adapter import copy_adapter
from nlft.cli.app import run as cli
from nlft.export.commands import serving_commands
from nlft.export.compare import TOLERANCE, Check, Comparison, answers
from nlft.export.step import scores_of
from nlft.lm import load_model
from nlft.lm.load import LanguageModel
from nlft.prompts import load_prompts
from nlft.records import Problem, read_records


def export(adapter: Path, out: Path, *more: str) -> int:
    return cli(["export", str(adapter), "-o", str(out), *more])


@pytest.fixture
def merged(adapter: Path, folder: Path, dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    more = ["--model", str(folder), "--dev", str(dev), "--dtype", "float32", "--max-new-tokens", "8"]
    assert export(adapter, tmp_path / "merged", "--merge", *more) == 0
    assert "3 of 3 answers are the same" in capsys.readouterr().out
    return tmp_path / "merged"


def expected(folder: Path, adapter: Path, dev: Path) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Prompts, and greedy answers of the model with its adapter, by our own generation."""
    lm = load_model(str(folder), adapter=adapter, dtype="float32", device="cpu")
    found = answers(lm, list(read_records(dev, Problem)), load_prompts("short"), max_new_tokens=8)
    return [answer.prompt for answer in found], [answer.tokens for answer in found]


def test_a_merged_model_is_loaded_by_transformers(merged: Path, adapter: Path, folder: Path, dev: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(merged), AutoTokenizer.from_pretrained(merged)
    assert tokenizer.chat_template == (adapter / "chat_template.jinja").read_text()
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id]
    untrained = AutoModelForCausalLM.from_pretrained(folder)
    problems, prompts = list(read_records(dev, Problem)), load_prompts(str(merged / "prompts.yaml"))
    differ = 0
    for problem, prompt, answer in zip(problems, *expected(folder, adapter, dev), strict=True):
        messages: Any = prompts.base(problem.question)
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        assert tuple(inputs.input_ids[0].tolist()) == prompt
        with torch.no_grad():
            found, other = (m.generate(**inputs, max_new_tokens=8, do_sample=False) for m in (model, untrained))
        assert tuple(found[0, len(prompt) :].tolist()) == answer
        differ += not torch.equal(found, other)
    assert differ  # the adapter does something
    modes = {path.stat().st_mode for path in merged.iterdir()}
    assert len(modes) == 1
    text = "".join(path.read_text() for path in merged.iterdir() if path.suffix in {".json", ".md", ".yaml"})
    assert str(folder) not in text
    assert "library_name: transformers" in text


def test_a_copied_adapter_is_loaded_by_peft(
    adapter: Path, folder: Path, dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoPeftModelForCausalLM is not None
    assert export(adapter, tmp_path / "copy", "--adapter-only") == 0
    said = capsys.readouterr().out
    assert "vllm serve org/tiny --enable-lora --lora-modules copy=" in said
    assert "--max-lora-rank 8 " in said
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path / "copy")
    AutoTokenizer.from_pretrained(tmp_path / "copy")
    for prompt, answer in zip(*expected(folder, adapter, dev), strict=True):
        with torch.no_grad():
            found = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=8, do_sample=False)
        assert tuple(found[0, len(prompt) :].tolist()) == answer
    assert "judged.jsonl" not in {path.name for path in (tmp_path / "copy").iterdir()}


def test_lm_eval_asks_the_merged_model_and_the_adapter(
    merged: Path, adapter: Path, folder: Path, dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of two rows, through the chat template, whose right answers are what our own generation gives."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    problems = list(read_records(dev, Problem))
    tokens = expected(folder, adapter, dev)[1]
    right = [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens]
    rows = [{"question": problem.question, "answer": text} for problem, text in zip(problems, right, strict=True)][:2]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = load_prompts(str(merged / "prompts.yaml"))
    task = {
        "task": "two_rows",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}, "cache_dir": str(tmp_path / "cache")},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "process_results": lambda doc, results: {"same": float(results[0] == doc["answer"])},
        "metric_list": [{"metric": "same", "aggregation": "mean", "higher_is_better": True}],
        "generation_kwargs": {"max_gen_toks": 8, "do_sample": False, "until": ["<|end|>"]},
    }
    common: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_size": 1}
    found = []
    for given in (
        {"pretrained": str(merged)},
        {"pretrained": str(folder), "peft": str(adapter)},
        {"pretrained": str(folder)},
    ):
        results = simple_evaluate(
            model=HFLM(**given, **common),
            tasks=[task],
            task_manager=TaskManager(include_defaults=False),
            apply_chat_template=True,
            system_instruction=prompts.solve,
            bootstrap_iters=0,
        )
        assert results["n-samples"]["two_rows"]["effective"] == 2
        found.append(results["results"]["two_rows"]["same,none"])
    assert found[:2] == [1.0, 1.0]
    assert found[2] < 1.0  # the untrained model


def test_an_adapter_of_a_quantized_model_is_merged_into_what_it_was_trained_on(
    dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into weights as they were quantized, held in 32 bits: not into the ones that were never rounded."""
    import torch
    from safetensors.torch import load_file

    pytest.importorskip("bitsandbytes", reason="the extra quant is not installed")
    wide = tiny_model(tmp_path / "wide", hidden_size=64)
    trained = make_adapter(wide, tmp_path / "trained", "4bit")
    more = ["--merge", "--model", str(wide), "--dtype", "float32", "--dev", str(dev), "--max-new-tokens", "8"]
    assert export(trained, tmp_path / "merged", *more) == 2
    assert "was trained on a model quantized to 4bit" in capsys.readouterr().err
    assert export(trained, tmp_path / "merged", *more, "--quantization", "4bit") == 0
    assert "3 of 3 answers are the same" in capsys.readouterr().out
    name = "model.layers.0.mlp.up_proj.weight"
    merged, plain = (load_file(place / "model.safetensors")[name] for place in (tmp_path / "merged", wide))
    lora = load_file(trained / "adapter_model.safetensors")
    down, up = (lora[f"base_model.model.model.layers.0.mlp.up_proj.lora_{each}.weight"] for each in "AB")
    base = merged - up @ down * (16 / 4)  # alpha / r
    quantized = load_model(str(wide), dtype="float32", device="cpu", quantization="4bit").model.dequantize()
    torch.testing.assert_close(base, quantized.model.layers[0].mlp.up_proj.weight.data.float(), atol=1e-5, rtol=0)
    assert (base - plain).abs().max() > 0.01
    assert not load_model(str(tmp_path / "merged"), device="cpu").model.config.to_dict().get("quantization_config")


def test_a_merge_into_other_weights_is_refused(
    adapter: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--merge", "--model", str(folder), "--check", "0"]
    assert export(adapter, tmp_path / "out", *more, "--quantization", "4bit") == 2
    assert "on a model that was not quantized" in capsys.readouterr().err
    # As a model from the hub whose stored weights are quantized.
    monkeypatch.setattr("transformers.LlamaForCausalLM.is_quantized", True, raising=False)
    assert export(adapter, tmp_path / "out", *more) == 2
    assert "are quantized, and a sum with the adapter would be rounded" in capsys.readouterr().err


def test_a_merge_that_lost_the_adapter_is_refused(
    adapter: Path,
    folder: Path,
    dev: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forgets(lm: LanguageModel, dtype: str) -> LanguageModel:
        return LanguageModel(lm.model.unload(), lm.tokenizer, lm.name)

    monkeypatch.setattr("nlft.lm.merge.merged", forgets)
    more = ["--model", str(folder), "--dev", str(dev), "--dtype", "float32", "--max-new-tokens", "8"]
    assert export(adapter, tmp_path / "merged", "--merge", *more) == 1
    said = capsys.readouterr().err
    assert "the merged model answers otherwise than rounding to float32 explains" in said
    assert "shift" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shifts", "rounded", "dtype", "explained"),
    [
        ([0.0, 0.0], 0.0, "float32", True),
        ([0.0, 1.5], 0.04, "bfloat16", True),
        ([0.0, 1.5], 0.04, "float16", False),
        ([0.0, 1.5], 0.09, "bfloat16", False),  # rounding moves nearly as much as was learnt
        ([0.0, 0.0], 0.09, "bfloat16", True),
        ([math.inf], 0.0, "bfloat16", False),
        ([math.nan], 0.0, "bfloat16", False),
    ],
)
def test_what_merging_explains(shifts: list[float], rounded: float, dtype: str, explained: bool) -> None:
    assert TOLERANCE["float32"] < TOLERANCE["float16"] < TOLERANCE["bfloat16"]
    found = tuple(Comparison("a", 9, 3 if shift else None, shift, -2.0, -2.1) for shift in shifts)
    assert Check(found, rounded, learnt=0.16).explained(dtype) is explained


def test_how_far_two_models_move_two_tokens_apart() -> None:
    """By hand: u prefers 7 to 8 by 0.3, m prefers 8 to 7 by 0.2; so 0.5 in all."""
    from nlft.export.compare import Answer, _compared

    def answer(tokens: tuple[int, ...], *top: dict[int, float]) -> Answer:
        logp = tuple(each[token] for token, each in zip(tokens, top, strict=True))
        return Answer((1,), tokens, logp, top, logp)

    problem = Problem(id="p", question="?", reference="#### 1")
    before = answer((5, 7, 9), {5: -0.1}, {7: -0.9, 8: -1.2}, {9: -0.5})
    again = answer((5, 7, 9), {5: -0.2}, {7: -1.1, 8: -0.9}, {9: -0.5})
    found = _compared(problem, before, answer((5, 8), {5: -0.2}, {8: -0.9}), again)
    assert (found.place, found.shift) == (1, pytest.approx(0.5))
    assert (found.adapter, found.merged) == (pytest.approx(-1.5), pytest.approx(-1.8))
    assert _compared(problem, before, answer((5,), {5: -0.2}), again).shift == math.inf
    assert _compared(problem, before, before, again).place is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "in which form is it to leave?"),
        (["--merge", "--adapter-only"], "choose one of merge and adapter_only"),
        (["--merge"], "is compared with the adapter on dev problems"),
        (["--adapter-only", "--dtype", "float16"], "`dtype` has no effect with `adapter_only`"),
        (["--adapter-only", "--quantization", "4bit"], "`quantization` has no effect with `adapter_only`"),
    ],
)
def test_what_the_settings_refuse(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert export(adapter, tmp_path / "out", *more) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_adapter_or_has_no_base(adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path, tmp_path / "out", "--adapter-only") == 1
    assert "holds no adapter" in capsys.readouterr().err
    copy_adapter(adapter, tmp_path / "old")
    config = json.loads((tmp_path / "old" / "adapter_config.json").read_text())
    (tmp_path / "old" / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "tiny"}))
    assert export(tmp_path / "old", tmp_path / "out", "--merge", "--check", "0") == 2
    assert 'knows its base model by the name of a folder only: "tiny"' in capsys.readouterr().err
    (tmp_path / "old" / "settings.json").unlink()
    assert export(tmp_path / "old", tmp_path / "out", "--adapter-only") == 1
    assert "no record of its training" in capsys.readouterr().err


def test_scores_go_into_the_card(adapter: Path, folder: Path, dev: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(dev), "-o", str(tmp_path / "eval.json"), "--model", str(folder), "--adapter", str(adapter)]
    assert cli([*words, "--max-new-tokens", "4", "--device", "cpu"]) == 0
    scores = scores_of([tmp_path / "eval.json"])
    assert [(score.problems, score.grade, score.n) for score in scores] == [
        ("dev.jsonl", "strict", 3),
        ("dev.jsonl", "flexible", 3),
    ]
    more = ["--adapter-only", "--evaluation", str(tmp_path / "eval.json"), "--license", "mit"]
    assert export(adapter, tmp_path / "copy", *more) == 0
    card = (tmp_path / "copy" / "README.md").read_text()
    assert "| dev.jsonl | 3 | strict | 0.0 % | 0.0 to 56.1 |" in card  # Wilson's interval of 0 of 3
    assert "license: mit" in card


def test_a_dora_adapter_is_for_merging(adapter: Path, tmp_path: Path) -> None:
    copy_adapter(adapter, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    assert "serves a DoRA adapter: export it with --merge" in serving_commands(tmp_path, "org/tiny")


def test_an_export_replaces_only_an_earlier_export(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy"
    assert export(adapter, out, "--adapter-only") == 0
    assert export(adapter, out, "--adapter-only") == 1
    assert "add --overwrite to replace an earlier export" in capsys.readouterr().err
    assert export(adapter, out, "--adapter-only", "--overwrite") == 0
    assert export(out, out, "--adapter-only", "--overwrite") == 1  # it would delete what it reads
    (out / "metrics.jsonl").write_text("{}")
    assert export(adapter, out, "--adapter-only", "--overwrite") == 1  # somebody's training run
    assert {path.name for path in out.iterdir()} >= {"metrics.jsonl", "adapter_model.safetensors"}
