"""The adapter: PEFT's `LoraConfig`, with the paper's defaults, checked field by field."""

from __future__ import annotations

import re
import shutil
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nlft import processes
from nlft.config import did_you_mean
from nlft.errors import ConfigError
from nlft.lm.quiet import quiet

# The paper's appendix B, and the projections its authors put their adapters on.
PAPER = {"r": 16, "lora_alpha": 16, "lora_dropout": 0.05}
MLP_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
# The fields of `LoraConfig` that can be set here. The rest follows from the model, or needs work before training.
FIELDS = (
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "use_rslora", "use_dora", "init_lora_weights",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "lora_bias",
)  # fmt: skip
# Ways to begin, and whether the weights under the adapter change with it: these take their main components out.
INITIALISATIONS = {"gaussian": False, "orthogonal": False, "pissa": True, "olora": True}
FIRST_ADAPTER = "first-adapter"


def check_lora(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an adapter, each of the type that PEFT gives it.

    Module names may be comma-separated.

    Raises:
        ConfigError: for a field that `LoraConfig` lacks or that cannot be set here, or for an unsuitable value.
    """
    from peft import LoraConfig

    types = typing.get_type_hints(LoraConfig)
    checked = {}
    for name, value in fields.items():
        if name not in FIELDS:
            what = "PEFT's LoraConfig has no such field" if name not in types else "nlft does not support this field"
            raise ConfigError(f'lora: "{name}": {what}', remedy=did_you_mean(name, FIELDS))
        if name == "init_lora_weights" and isinstance(value, str) and value not in (*INITIALISATIONS, "true", "false"):
            raise ConfigError(
                f"lora: init_lora_weights cannot be {value!r}", remedy=did_you_mean(value, [*INITIALISATIONS, "true"])
            )
        if name.endswith("_modules") and isinstance(value, str) and re.fullmatch(r"[\w.]+(,[\w.]+)*", value):
            value = value.split(",")  # PEFT reads text as a regular expression
        try:
            checked[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            why = error.errors(include_url=False)[0]["msg"]
            raise ConfigError(f"lora: {name} cannot be {value!r}: {why[:1].lower()}{why[1:]}") from None
    for name, low, high in (("r", 1, None), ("lora_dropout", 0, 1)):
        if name in checked and not (low <= checked[name] and (high is None or checked[name] <= high)):
            limits = f"at least {low}" + ("" if high is None else f" and at most {high}")
            raise ConfigError(f"lora: {name} cannot be {checked[name]}", remedy=f"give a number of {limits}")
    if changes_base(_make(checked)) and checked.get("use_dora"):
        raise ConfigError(f"lora: use_dora does not go together with init_lora_weights={checked['init_lora_weights']}")
    return checked


def _make(fields: Mapping[str, Any]) -> Any:
    """PEFT's own check of the fields together."""
    from peft import LoraConfig

    try:
        return LoraConfig(**{**PAPER, **fields})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"lora: {str(error).splitlines()[0]}") from None


def lora_config(model: Any, **fields: Any) -> Any:
    """The adapter for a model: the paper's (r 16, alpha 16, dropout 0.05), changed by `fields`.

    Args:
        model: Decides the target modules if `fields` do not: the authors' (gate, up and down projection of the
            MLP) if it has them, otherwise all linear layers.
        **fields: Fields of PEFT's `LoraConfig`, as `check_lora` takes them.

    Raises:
        ConfigError: for an unsuitable field, or a target module that the model lacks.
    """
    checked = check_lora(fields)
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    default = list(MLP_PROJECTIONS) if names.issuperset(MLP_PROJECTIONS) else "all-linear"
    targets = checked.setdefault("target_modules", default)
    for target in targets if isinstance(targets, list) else ():
        if target.rpartition(".")[2] not in names:
            linear = sorted(
                {name.rpartition(".")[2] for name, m in model.named_modules() if m.__class__.__name__ == "Linear"}
            )
            raise ConfigError(f'the model has no module "{target}"', remedy="it has: " + ", ".join(linear))
    config = _make(checked)
    config.task_type = "CAUSAL_LM"
    # GPT-2 stores its matrices transposed.
    config.fan_in_fan_out = any(module.__class__.__name__ == "Conv1D" for module in model.modules())
    return config


def changes_base(peft_config: Any) -> bool:
    """Whether the adapter's first values are taken out of the weights under it (PiSSA, OLoRA).

    Without the adapter, the model is then no longer the untouched one.
    """
    kind = getattr(peft_config, "init_lora_weights", True)
    return INITIALISATIONS.get(kind, True) if isinstance(kind, str) else False


def quantized(model: Any) -> str | None:
    """How a model is quantized: "4bit", "8bit" or not at all."""
    return next((kind for kind in ("4bit", "8bit") if getattr(model, f"is_loaded_in_{kind}", False)), None)


def prepared(model: Any) -> Any:
    """A model for an adapter: a quantized one gets its norms, embeddings and head in float32, as QLoRA has them."""
    if quantized(model) is None:
        return model
    from peft import prepare_model_for_kbit_training

    for module in model.modules():
        # On CPUs with bfloat16, bitsandbytes repacks weights in the first pass without gradient, for good, and its
        # product of repacked weights hands no gradient on.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    # transformers switches checkpointing on itself, as the trainer's arguments say.
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


class FirstAdapter:
    """The first values of an adapter that are taken out of the weights under it; for any other adapter, nothing.

    With them, a trained adapter is written as an ordinary one, of twice the rank, on the untouched weights.

    Args:
        trainer: A trainer that has not begun; the values are kept in its output folder meanwhile.

    Raises:
        ConfigError: if the weights are sharded.
    """

    def __init__(self, trainer: Any) -> None:
        self.model = trainer.accelerator.unwrap_model(trainer.model)
        self.folder = Path(trainer.args.output_dir)
        self.wanted = changes_base(getattr(self.model, "peft_config", {}).get("default"))
        if self.wanted and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
            raise ConfigError(
                "this init_lora_weights does not go together with sharded weights",
                remedy="choose another initialisation",
            )
        if self.wanted and processes.leads():
            self.model.save_pretrained(str(self.folder / FIRST_ADAPTER))

    def convert(self) -> None:
        """Write the adapter into the trainer's folder anew, converted."""
        if self.wanted and processes.leads():
            first = self.folder / FIRST_ADAPTER
            with quiet():  # PEFT advises to do what is done here
                self.model.save_pretrained(str(self.folder), path_initial_model_for_weight_conversion=str(first))
            shutil.rmtree(first)
