"""The stage's settings and the trainer's arguments are one: what stands in the one holds in the other."""

import dataclasses

import pytest
import torch
from peft import LoraConfig
from pydantic import ValidationError

from nlft.objectives import available
from nlft.train import NLFTConfig, lora_config
from nlft.train.config import REFT, TrainSettings, choices, default
from nlft.train.lora import FIELDS
from nlft.train.reft import ReFTConfig

# What transformers calls otherwise.
SAME = {
    **{name: name for name in ("objective", "preset", "scale_schedule", "target", "prompts", "system", "loss_average")},
    **{name: name for name in ("max_length", "score_cache", "anchor", "report_to")},
    "objective_option": "objective_options",
    "epochs": "num_train_epochs",
}


# And ReFT's; what TRL calls otherwise.
REFTS = {
    **{name: name for name in ("kl_coefficient", "grader", "prompts", "system", "target", "max_length", "report_to")},
    **{f"warm_up_{name}": f"warm_up_{name}" for name in ("epochs", "learning_rate", "batch_size", "schedule")},
    "ppo_epochs": "num_iterations",
    "max_new_tokens": "max_completion_length",
    "epochs": "num_train_epochs",
}


@pytest.mark.parametrize(
    ("kind", "own", "theirs"),
    [(kind, *pair) for kind, pairs in ((NLFTConfig, SAME), (ReFTConfig, REFTS)) for pair in pairs.items()],
)
def test_a_field_has_one_default_and_one_help(kind: type, own: str, theirs: str) -> None:
    field = {each.name: each for each in dataclasses.fields(kind)}[theirs]
    made = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
    assert made == default(own)
    assert field.metadata["help"] == TrainSettings.model_fields[own].description


def test_defaults_that_depend_on_the_objective_are_what_the_help_says(tmp_path: object) -> None:
    settings = TrainSettings.model_fields
    for name, theirs in (
        ("learning_rate", "learning_rate"),
        ("batch_size", "per_device_train_batch_size"),
        ("warmup", "warmup_steps"),
    ):
        mine, reft = (
            {each.name: each.default for each in dataclasses.fields(kind)}[theirs] for kind in (NLFTConfig, ReFTConfig)
        )
        assert settings[name].default is None
        told = f"{mine:g} (reft: {reft:g})".replace("e-0", "e-")
        assert told in str(settings[name].description)


def test_every_objective_can_be_named() -> None:
    assert set(choices("objective")) == {*available(), REFT}


def test_the_adapter_has_the_papers_defaults() -> None:
    assert default("lora") == {}
    plain, projections = torch.nn.ModuleDict({"up": torch.nn.Linear(2, 2)}), ("gate_proj", "up_proj", "down_proj")
    made = lora_config(plain)
    assert (made.r, made.lora_alpha, made.lora_dropout, made.target_modules) == (16, 16, 0.05, "all-linear")
    mlp = lora_config(torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in projections}))
    assert mlp.target_modules == set(projections)


def test_an_adapter_is_pefts_own() -> None:
    """Every field that can be set is one of PEFT's, and reaches it with PEFT's type."""
    assert set(FIELDS) <= {each.name for each in dataclasses.fields(LoraConfig)}
    model = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(2, 2), "k_proj": torch.nn.Linear(2, 2)})
    made = lora_config(model, r="4", use_rslora="true", init_lora_weights="pissa", target_modules="q_proj,k_proj")
    assert (made.r, made.use_rslora, made.init_lora_weights) == (4, True, "pissa")
    assert made.target_modules == {"q_proj", "k_proj"}
    assert lora_config(model, target_modules=r".*\.q_proj").target_modules == r".*\.q_proj"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ppo_epochs": 3}, "ppo_epochs has no effect"),
        ({"objective": "reft", "scale_schedule": "once"}, "scale_schedule has no effect"),
        ({"objective": "reft", "full": True}, "drop --full|trains an adapter"),
        ({"objective": "cut", "objective_option": {"treshold": 1.1}}, "treshold"),
        ({"preset": "authors", "settings": {"p0_correct": 2}}, "p0_correct"),
        ({"device": "cuda:1"}, "first visible GPU"),
        ({"lora": {"us_dora": True}}, "us_dora.*no such field"),
        ({"lora": {"eva_config": {}}}, "eva_config.*does not support"),
        ({"lora": {"r": 0}}, "r cannot be 0"),
        ({"lora": {"lora_dropout": 2}}, "lora_dropout cannot be 2"),
        ({"lora": {"use_dora": 3}}, "use_dora cannot be 3: input should be a valid boolean"),
        ({"lora": {"init_lora_weights": "pisa"}}, "init_lora_weights cannot be 'pisa'"),
        ({"lora": {"init_lora_weights": "pissa", "use_dora": True}}, "does not go together"),
        ({"lora": {"layers_pattern": "layers"}}, "layers_pattern"),
        ({"lora": {"r": 8}, "full": True}, "lora has no effect"),
        ({"full": True, "dtype": "bfloat16", "learning_rate": 1e-5}, "every weight above 512 x 1e-05 = 0.00512"),
        ({"full": True, "dtype": "float16"}, "every weight above 4096 x 5e-05 = 0.205"),
        ({"patience": 2}, "patience has no effect without dev"),
        ({"dev": "d.jsonl", "save_steps": 2}, "save_steps has no effect"),
        ({"dev": "d.jsonl", "average": 0.9}, "average keeps no single checkpoint"),
        ({"average": 1.5}, "average"),
        ({"objective": "reft", "anchor": 0.1}, "anchor has no effect"),
        ({"report_to": "mlflow"}, "mlflow is not installed"),
        ({"dev_folds": 2, "max_steps": 3}, "dev_folds chooses the number of epochs"),
        ({"objective": "reft", "dev_folds": 2}, "dev_folds has no effect"),
        ({"dev": "d.jsonl", "dev_every": 0}, "dev_every"),
        ({"quantization": "4bit", "full": True}, "cannot be trained in full"),
    ],
)
def test_what_has_no_effect_or_does_not_fit_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainSettings(model="m", **given)  # type: ignore[arg-type]


def test_former_names_are_accepted_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    former = {"weights": "once", "on": "reference", "lora_r": 8, "target_modules": "all-linear"}
    settings = TrainSettings.model_validate({"model": "m", "lora": {"lora_alpha": 4}, **former})
    assert (settings.scale_schedule, settings.target) == ("once", "reference")
    assert settings.lora == {"r": 8, "lora_alpha": 4, "target_modules": "all-linear"}
    assert [record.message.split(";")[0] for record in caplog.records] == [
        '"weights" is now called "scale_schedule"',
        '"on" is now called "target"',
        '"lora_r" is now called "lora.r"',
        '"target_modules" is now called "lora.target_modules"',
    ]
