"""An adapter's product added to the weights, for a model that needs no adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from nlft.errors import ConfigError
from nlft.lm.config import LoadSettings
from nlft.lm.load import DTYPES, LanguageModel, load_as, with_adapter
from nlft.lm.quiet import quiet
from nlft.lm.resolve import resolve_model
from nlft.lm.wrappers import unwrap


def stored_dtype(model: str, *, trust_remote_code: bool = False) -> str:
    """The type of a model's stored weights, as its config says; float32 if it says nothing."""
    with quiet():
        config = AutoConfig.from_pretrained(resolve_model(model), trust_remote_code=trust_remote_code)
    return next((name for name, dtype in DTYPES.items() if config.dtype == dtype), "float32")


def apart(settings: LoadSettings, model: str, adapter: str | Path) -> LanguageModel:
    """The model with its adapter apart, in float32, ready to be merged.

    A quantized model's weights are taken as they are quantized, which is what the adapter was trained on, but not
    computed with in few bits: a merged model is not either.

    Raises:
        ModelError, ConfigError: as `load_model`; for a model whose stored weights are quantized.
    """
    settings = settings.model_copy(update={"dtype": "float32"})
    if settings.quantization is None:
        lm = load_as(settings, model, adapter=adapter)
        if getattr(unwrap(lm.model), "is_quantized", False):
            raise ConfigError(
                f"the weights of {model} are quantized, and a sum with the adapter would be rounded to as few bits",
                remedy="serve the adapter apart (--adapter-only), or train it on the model that is not quantized",
            )
        return lm
    lm = load_as(settings, model)
    with quiet():
        whole = with_adapter(lm.model.dequantize(dtype=torch.float32), adapter)
    return LanguageModel(whole.eval(), lm.tokenizer, lm.name)


def merged(lm: LanguageModel, dtype: str) -> LanguageModel:
    """The model of `apart` with its adapter merged: summed up in float32, and rounded once."""
    with quiet():
        whole = lm.model.merge_and_unload()
    return LanguageModel(whole.to(DTYPES[dtype]), lm.tokenizer, lm.name)


def save_model(lm: LanguageModel, folder: Path) -> None:
    """Save model, tokenizer, chat template, and a generation config that stops where the model learnt to stop."""
    config: Any = lm.model.generation_config
    config.eos_token_id = sorted(lm.stop_ids)
    config.pad_token_id = lm.tokenizer.pad_token_id if lm.tokenizer.pad_token_id is not None else min(lm.stop_ids)
    if not config.do_sample:  # transformers refuses to save a temperature that is never used
        config.temperature = config.top_p = config.top_k = None
    with quiet():
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
