"""An adapter with its record, made without training: export asks only what is in the folder."""

import json
from pathlib import Path

import pytest
from tests.tiny import tiny_rows
from tests.train.tiny_train import ROWS, stir

from nlft.adapter import Source, Told, begin, finish, write_card
from nlft.lm import load_model
from nlft.prompts import load_prompts
from nlft.provenance import provenance


def make_adapter(folder: Path, home: Path, quantization: str | None = None) -> Path:
    """A stirred LoRA adapter of a tiny model, as training would leave it, with a file that must not leave it."""
    from peft import get_peft_model

    from nlft.train import lora_config

    prompts = load_prompts("short")
    lm = load_model(str(folder), dtype="float32", device="cpu", quantization=quantization)
    model = get_peft_model(lm.model, lora_config(lm.model, r=4))
    stir(model)
    source = Source(Path("judged.jsonl"), {"epochs": 2})
    told = Told.of(
        ROWS, source, model="org/tiny", quantization=quantization, prompts=prompts,
        chat_template=lm.tokenizer.chat_template,
    )  # fmt: skip
    begin(home, told, prompts, resume=False)
    model.save_pretrained(home)
    lm.tokenizer.save_pretrained(home)
    finish(home, told.base_model)
    made = {"objective": "nlft", "seed": 7, "steps": 3, "loss": 0.5, "trainable": 9216, "seconds": 4.2}
    (home / "train.json").write_text(json.dumps({**made, "provenance": provenance().model_dump(mode="json")}))
    write_card(home)
    (home / "judged.jsonl").write_text(ROWS[0].model_dump_json())
    return home


@pytest.fixture(scope="session")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model."""
    return make_adapter(folder, tmp_path_factory.mktemp("trained") / "adapter")


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems on which to compare."""
    return tiny_rows(tmp_path_factory.mktemp("dev") / "dev.jsonl", 3, answered=False)
