"""The stage's settings and the trainer's arguments are one: what stands in the one holds in the other."""

import dataclasses

import pytest
from pydantic import ValidationError

from nlft.objectives import available
from nlft.train import NLFTConfig, lora_config
from nlft.train.config import REFT, TrainSettings, choices, default
from nlft.train.reft import ReFTConfig

ARGUMENTS = {each.name: each for each in dataclasses.fields(NLFTConfig)}
# What transformers calls otherwise.
SAME = {
    **{name: name for name in ("objective", "preset", "scale_schedule", "target", "prompts", "system", "loss_average")},
    **{name: name for name in ("max_length", "score_cache")},
    "objective_option": "objective_options",
    "epochs": "num_train_epochs",
}


@pytest.mark.parametrize(("own", "theirs"), SAME.items())
def test_a_field_has_one_default_and_one_help(own: str, theirs: str) -> None:
    field = ARGUMENTS[theirs]
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
    assert (default("lora_r"), default("lora_alpha"), default("lora_dropout")) == (16, 16, 0.05)
    assert lora_config.__kwdefaults__ == {"r": 16, "alpha": 16, "dropout": 0.05, "target_modules": None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ppo_epochs": 3}, "ppo_epochs has no effect"),
        ({"objective": "reft", "scale_schedule": "once"}, "scale_schedule has no effect"),
        ({"objective": "reft", "full": True}, "drop --full|trains an adapter"),
        ({"objective": "cut", "objective_option": {"treshold": 1.1}}, "treshold"),
        ({"preset": "authors", "settings": {"p0_correct": 2}}, "p0_correct"),
        ({"device": "cuda:1"}, "first visible GPU"),
    ],
)
def test_what_has_no_effect_or_does_not_fit_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainSettings(model="m", **given)  # type: ignore[arg-type]


def test_former_names_are_accepted_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    settings = TrainSettings.model_validate({"model": "m", "weights": "once", "on": "reference"})
    assert (settings.scale_schedule, settings.target) == ("once", "reference")
    assert [record.message.split(";")[0] for record in caplog.records] == [
        '"weights" is now called "scale_schedule"',
        '"on" is now called "target"',
    ]
