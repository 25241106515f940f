"""The record of a training run: what it holds, what it refuses, and who reads it."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import CHAT_TEMPLATE
from tests.train.tiny_train import ROWS

from nlft.adapter import Source, Told, begin, copy_adapter, finish, model_id, read_told
from nlft.adapter.card import Score, card_text
from nlft.errors import DataError
from nlft.evaluate.config import EvaluateSettings
from nlft.files import content_hash
from nlft.files.yaml import read_yaml
from nlft.lm import load_tokenizer
from nlft.lm.config import TemplateSettings
from nlft.prompts import load_prompts
from nlft.provenance import provenance

SHORT = load_prompts("short")
# Whose absolute path must not be handed over.
HOME = Path(tempfile.gettempdir()) / "me"


def told(**changes: Any) -> Told:
    given = {"rows": ROWS, "prompts": SHORT, "chat_template": "x", "settings": {"epochs": 2, "lora_r": 4}, **changes}
    source = Source(HOME / "judged.jsonl", given.pop("settings"))
    return Told.of(given.pop("rows"), source, model=str(HOME / "models" / "base"), quantization=None, **given)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """What is left in an adapter's folder, with what must not leave it beside."""
    folder = tmp_path / "adapter"
    begin(folder, told(), SHORT, resume=False)
    files = {
        "adapter_config.json": json.dumps({"base_model_name_or_path": str(HOME / "models" / "base"), "r": 4}),
        "adapter_model.safetensors": "weights",
        "chat_template.jinja": CHAT_TEMPLATE,
        "training_args.bin": "pickle",
        "metrics.jsonl": "{}",
        "judged.jsonl": ROWS[0].question,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    made = {"objective": "nlft", "seed": 7, "steps": 3, "loss": 0.5, "trainable": 9216, "seconds": 4.2}
    (folder / "train.json").write_text(json.dumps({**made, "provenance": provenance().model_dump(mode="json")}))
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": ROWS[:3]}, "the data"),
        ({"rows": [*ROWS[:3], ROWS[3].model_copy(update={"judgment": "It is 8."})]}, "the data"),
        ({"prompts": load_prompts("paper")}, "the prompts"),
        ({"chat_template": "y"}, "the chat template"),
        ({"settings": {"epochs": 3, "lora_r": 4}}, "epochs (2, now 3)"),
        ({"settings": {"epochs": 3}, "chat_template": "y"}, "the chat template, epochs (2, now 3), lora_r (4, now null)"),
    ],
)  # fmt: skip
def test_a_run_is_resumed_only_as_it_began(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    begin(tmp_path, told(), SHORT, resume=False)
    begin(tmp_path, told(), SHORT, resume=True)
    changed = told(**change)
    with pytest.raises(DataError) as refused:
        begin(tmp_path, changed, SHORT, resume=True)
    assert refused.value.message == f"cannot resume: since this run began, there is a change in {said}"
    assert read_told(tmp_path) == told()
    begin(tmp_path, changed, SHORT, resume=False)
    assert read_told(tmp_path) == changed


def test_when_states_are_saved_may_change(tmp_path: Path) -> None:
    begin(tmp_path, told(settings={"epochs": 2, "save_steps": 5}), SHORT, resume=False)
    begin(tmp_path, told(settings={"epochs": 2, "save_steps": 9}), SHORT, resume=True)


def test_the_prompts_are_kept_as_text(adapter: Path) -> None:
    assert load_prompts(str(adapter / "prompts.yaml")) == SHORT
    assert read_yaml(adapter / "prompts.yaml")["solve"] == SHORT.solve


def test_what_is_handed_over(adapter: Path, tmp_path: Path) -> None:
    (adapter / "adapter_model.safetensors").chmod(0o600)
    finish(adapter, model_id(str(HOME / "models" / "base")))
    copy_adapter(adapter, tmp_path / "copy")
    copied = {path.name: path for path in (tmp_path / "copy").iterdir()}
    assert set(copied) == {
        "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "prompts.yaml", "settings.json",
        "train.json",
    }  # fmt: skip
    assert json.loads(copied["adapter_config.json"].read_text()) == {"base_model_name_or_path": "base", "r": 4}
    assert not [name for name, path in copied.items() if str(HOME) in path.read_text()]
    assert (adapter / "adapter_model.safetensors").stat().st_mode & 0o777 == copied["train.json"].stat().st_mode & 0o777


def test_a_checkpoint_is_handed_over_with_the_record_of_its_run(adapter: Path, tmp_path: Path) -> None:
    checkpoint = adapter / "checkpoint-4"
    checkpoint.mkdir()
    (checkpoint / "adapter_config.json").write_text("{}")
    assert read_told(checkpoint) == told()
    copy_adapter(checkpoint, tmp_path / "copy")
    assert read_told(tmp_path / "copy") == told()


def test_the_card(adapter: Path) -> None:
    """It is a card that the hub's own class reads, and holds neither a place on this machine nor a row."""
    from huggingface_hub import ModelCard

    text = card_text(adapter, scores=[Score("test.jsonl", "strict", 12, 48, 0.149, 0.388)], license="mit", repo="me/a")
    card = ModelCard(text)
    assert (card.data.base_model, card.data.library_name, card.data.license) == ("base", "peft", "mit")
    assert [(r.metric_value, r.dataset_name) for r in card.data.eval_results] == [(0.25, "test.jsonl")]
    for words in (
        "| test.jsonl | 48 | strict | 25.0 % | 14.9 to 38.8 |", "judged.jsonl (4 rows", "| seed | 7 |", SHORT.solve,
        "arXiv:2412.20382", '"epochs": 2', "| size | 0.00 MB |", 'base"), "me/a")',
        "```sh\nhf download me/a --local-dir PATH\nnlft answer problems.jsonl -o answers.jsonl --model base --adapter PATH\n```",
    ):  # fmt: skip
        assert words in text
    assert str(HOME) not in text
    assert not [row for row in ROWS if row.question in text]
    assert "Not evaluated." in card_text(adapter)
    assert "```sh\nnlft answer" in card_text(adapter)


def test_a_folder_without_a_record_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no record of its training"):
        card_text(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_told(tmp_path)


def test_an_adapter_is_asked_with_its_own_prompts(adapter: Path, caplog: pytest.LogCaptureFixture) -> None:
    def chosen(**given: Any) -> Any:
        return EvaluateSettings(model="m", adapter=str(adapter), **given).prompt_set()

    assert chosen() == chosen(prompts="short") == SHORT
    assert not caplog.records
    assert chosen(prompts="paper").name == "paper"
    assert "was trained with other prompts (short) than it gets here (paper)" in caplog.text
    caplog.clear()
    assert chosen(system="refuse").system == "refuse"
    assert "was trained with other prompts" in caplog.text
    assert EvaluateSettings(model="m").prompt_set().name == "paper"


def test_an_adapter_is_asked_with_its_own_template(
    folder: Path, adapter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = CHAT_TEMPLATE.replace("<|end|>", " <|end|>")
    (adapter / "chat_template.jinja").write_text(own)
    assert load_tokenizer(str(folder)).chat_template == CHAT_TEMPLATE
    assert load_tokenizer(str(folder), adapter=adapter).chat_template == own
    assert not caplog.records
    other = TemplateSettings(chat_template=str(folder))
    assert load_tokenizer(str(folder), adapter=adapter, template=other).chat_template == CHAT_TEMPLATE
    assert "was trained with another chat template" in caplog.text


@pytest.mark.parametrize("settings", [{"thinking": "on"}, {"template_date": "2026-02-01"}, {}])
def test_what_a_template_left_open_stays_as_it_was_trained(
    folder: Path, adapter: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    """A settled template is read back as it was saved; its own decision told again is no other."""
    open_ = "{{ date_string }}{% if enable_thinking %}<think>{% endif %}" + CHAT_TEMPLATE
    (adapter / "open.jinja").write_text(open_)
    trained = TemplateSettings(chat_template=str(adapter / "open.jinja"), **settings)
    text = load_tokenizer(str(folder), template=trained).chat_template
    (adapter / "chat_template.jinja").write_text(text)
    assert load_tokenizer(str(folder), adapter=adapter).chat_template == text
    again = TemplateSettings(**settings)
    assert load_tokenizer(str(folder), adapter=adapter, template=again).chat_template == text
    assert not caplog.records
    if settings:
        load_tokenizer(str(folder), adapter=adapter, template=TemplateSettings(thinking="off"))
        assert ("another chat template" in caplog.text) == ("thinking" in settings)


def test_another_quantization_is_told(folder: Path, adapter: Path, caplog: pytest.LogCaptureFixture) -> None:
    from nlft.lm.load import _warn_of_quantization

    _warn_of_quantization(adapter, None)
    assert not caplog.records
    _warn_of_quantization(adapter, "4bit")
    assert "a model that was not quantized; drop --quantization" in caplog.text
    begin(adapter, told().model_copy(update={"quantization": "4bit"}), SHORT, resume=False)
    with caplog.at_level(logging.WARNING):
        _warn_of_quantization(adapter, None)
    assert "quantized to 4bit; add --quantization 4bit" in caplog.text


def test_an_adapter_with_other_prompts_is_another_one(adapter: Path) -> None:
    before = content_hash(adapter)
    (adapter / "metrics.jsonl").write_text("{} {}")
    assert content_hash(adapter) == before
    begin(adapter, told(), load_prompts("paper"), resume=False)
    assert content_hash(adapter) != before


def test_a_models_place_on_this_machine_stays_here(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert model_id(str(tmp_path / "here")) == "here"
    assert model_id("models/small.Q4.gguf") == "small.Q4"
    assert model_id("org/name") == "org/name"
    assert model_id("/c/hub/models--org--name/snapshots/0a1b") == "org/name"
