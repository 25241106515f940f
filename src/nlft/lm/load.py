"""Load a model and its tokenizer: from a folder, the hub, or a GGUF file; with or without an adapter."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from nlft.adapter.record import TEMPLATE, read_told, trained_file
from nlft.errors import ConfigError, ModelError, hub_remedy
from nlft.lm.config import LoadSettings, TemplateSettings
from nlft.lm.frame import frame_of
from nlft.lm.quiet import quiet
from nlft.lm.resolve import resolve_model
from nlft.lm.template import settle_template, settled_file
from nlft.lm.thoughts import AnswerMarks, answer_marks, read_answer

logger = logging.getLogger("nlft")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What transformers, PEFT and safetensors raise for missing, damaged or unsuitable files.
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with the tokenizer it speaks through."""

    model: Any
    tokenizer: Any
    name: str

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def context_length(self) -> int | None:
        """How many tokens it takes in all, where its config says so."""
        return context_length(self.model.config)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a response: the one that is trained, the tokenizer's, and the generation config's."""
        return stop_ids(self.model.generation_config, self.tokenizer)

    def read(self, ids: Sequence[int], prompt: Sequence[int]) -> tuple[str, str]:
        """The thoughts and the answer in the ids generated after a prompt, which may hold the answer's beginning."""
        return read_answer(self.tokenizer, self._marks, ids, prompt)

    @cached_property
    def _marks(self) -> AnswerMarks:
        return answer_marks(self.tokenizer)


def context_length(config: Any) -> int | None:
    """The longest input the config allows, in tokens."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def stop_ids(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a response."""
    listed = getattr(generation_config, "eos_token_id", None)
    ids = {closing_id(tokenizer), tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])}
    return frozenset(i for i in ids if i is not None)


def closing_id(tokenizer: Any) -> int:
    """The token with which the chat template ends a response."""
    closing = frame_of(tokenizer, [{"role": "user", "content": "?"}]).closing
    return int(tokenizer(closing, add_special_tokens=False).input_ids[-1])


def pick_device(device: str = "auto") -> torch.device:
    """`auto` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: for a device torch does not know or this machine does not have.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f'the device "{device}" cannot be used: {str(error).splitlines()[0]}', remedy="drop --device"
        ) from None
    return chosen


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device computes it fast, else float32.

    Raises:
        ConfigError: for a name that is no dtype here.
    """
    if dtype != "auto":
        if dtype not in DTYPES:
            raise ConfigError(f'unknown dtype "{dtype}"', remedy="one of auto, " + ", ".join(DTYPES))
        return DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and _cpu_computes_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_computes_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def load_model(
    name_or_path: str,
    *,
    adapter: str | Path | None = None,
    merge: bool = False,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    quantization: str | None = None,
    template: TemplateSettings | None = None,
) -> LanguageModel:
    """Load a model ready to score, sample or train.

    Args:
        name_or_path: A folder in Hugging Face's layout, a hub id, or a GGUF file.
        adapter: The folder of a PEFT adapter, put on top.
        merge: Add the adapter's product to the weights, in their dtype: what only generates is up to
            twice as fast so. A quantized model keeps its adapter apart.
        dtype: "auto", "float32", "bfloat16" or "float16".
        device: "auto", or as torch names it.
        trust_remote_code: Run code that comes with the model; off by default.
        quantization: "4bit" or "8bit", by bitsandbytes.
        template: Which chat template, and what it leaves open; by default the adapter's, or else the model's own,
            without thinking.

    Raises:
        ModelError: when model, tokenizer or adapter cannot be found or read.
        ConfigError: for a dtype, device or quantization that does not exist here, or without a chat template.
    """
    where = pick_device(device)
    weights = pick_dtype(dtype, where)
    source = resolve_model(name_or_path)
    extra: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if where.type == "cuda":  # straight there: the host needs no memory for a second copy
        extra["device_map"] = {"": torch.cuda.current_device() if where.index is None else where.index}
    if quantization is not None:
        extra["quantization_config"] = quantization_config(quantization, weights)
    tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code, template=template, adapter=adapter)
    if adapter is not None:
        _warn_of_quantization(adapter, quantization)
    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=weights, use_safetensors=True, **extra)
        except UNREADABLE as error:
            raise _cannot_load("model", name_or_path, error) from error
        if "device_map" not in extra:
            model = model.to(where)
        if adapter is not None:
            model = with_adapter(model, adapter)
            if merge and quantization is None:
                model = model.merge_and_unload()
    model.eval()
    return LanguageModel(model, tokenizer, name_or_path)


def load_as(
    settings: LoadSettings, model: str, *, adapter: str | Path | None = None, merge: bool = False
) -> LanguageModel:
    """`load_model` as a stage's settings say."""
    return load_model(
        model,
        adapter=adapter,
        merge=merge,
        dtype=settings.dtype,
        device=settings.device,
        trust_remote_code=settings.trust_remote_code,
        quantization=settings.quantization,
        template=settings,
    )


def load_tokenizer(
    source: str,
    *,
    trust_remote_code: bool = False,
    template: TemplateSettings | None = None,
    adapter: str | Path | None = None,
) -> Any:
    """Load a tokenizer alone, which needs no weights, with its chat template settled.

    With an adapter, the template is by default the one that it was trained with; another is used with a warning.

    Raises:
        ModelError: when it cannot be found.
        ConfigError: when it has no chat template and `template` names none, or one that cannot be read or does not fit.
    """
    tokenizer = _tokenizer(source, trust_remote_code=trust_remote_code)
    template = template or TemplateSettings()
    learnt = trained_file(adapter, TEMPLATE) if adapter is not None else None
    if learnt is not None and template.chat_template is None:
        template = template.model_copy(update={"chat_template": str(learnt)})
    settle_template(tokenizer, template, name=source, load_other=_tokenizer)
    if learnt is not None and tokenizer.chat_template != settled_file(learnt):
        logger.warning(
            "%s was trained with another chat template than it gets here; leave out --chat-template, --thinking and "
            "--template-date to use its own", adapter,
        )  # fmt: skip
    return tokenizer


def _warn_of_quantization(adapter: str | Path, quantization: str | None) -> None:
    told = read_told(adapter)
    if told is not None and told.quantization != quantization:
        trained = f"quantized to {told.quantization}" if told.quantization else "that was not quantized"
        remedy = f"add --quantization {told.quantization}" if told.quantization else "drop --quantization"
        logger.warning("%s was trained on a model %s; %s to use it as it was trained", adapter, trained, remedy)


def load_generation_config(source: str) -> Any:
    """What the model would take as its generation config, read without its weights; None for an adapter's folder."""
    if (Path(source) / "tokenizer_config.json").is_file() and not (Path(source) / "config.json").is_file():
        return None
    source = resolve_model(source)
    with quiet():
        try:
            return GenerationConfig.from_pretrained(source)
        except OSError:
            return GenerationConfig.from_model_config(AutoConfig.from_pretrained(source))


def _tokenizer(source: str, *, trust_remote_code: bool = False) -> Any:
    # An adapter's folder has a tokenizer, though it is no model.
    source = source if (Path(source) / "tokenizer_config.json").is_file() else resolve_model(source)
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
        except UNREADABLE as error:
            raise _cannot_load("tokenizer", source, error) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {source} names no end-of-turn token",
            remedy='set "eos_token" in its tokenizer_config.json',
        )
    return tokenizer


def with_adapter(model: Any, adapter: str | Path) -> Any:
    """The model with a PEFT adapter on top.

    Raises:
        ModelError: when the adapter cannot be found or read.
    """
    from peft import PeftModel

    if not (Path(adapter) / "adapter_config.json").exists():
        raise ModelError(
            f"{adapter} holds no adapter (no adapter_config.json)", remedy="give the folder that `nlft train -o` wrote"
        )
    if (Path(adapter) / "adapter_model.bin").exists() and not (Path(adapter) / "adapter_model.safetensors").exists():
        raise ModelError(
            f"{adapter} holds its weights as a pickle (adapter_model.bin), which is not read",
            remedy="ask for adapter_model.safetensors, or save the adapter anew with PEFT",
        )
    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except UNREADABLE as error:
        raise _cannot_load("adapter", str(adapter), error) from error


def quantization_config(kind: str, dtype: torch.dtype) -> Any:
    """How bitsandbytes quantizes a model whose passes are to compute in `dtype`.

    Raises:
        ConfigError: for another kind than "4bit" and "8bit", or without bitsandbytes.
    """
    from transformers import BitsAndBytesConfig

    if kind not in ("4bit", "8bit"):
        raise ConfigError(f'unknown quantization "{kind}"', remedy='one of "4bit", "8bit"')
    if find_spec("bitsandbytes") is None:
        raise ConfigError("quantization needs bitsandbytes", remedy='pip install "nlft[quant]"')
    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _cannot_load(what: str, name: str, error: Exception) -> ModelError:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    remedy = hub_remedy(error, name, "give a folder with config.json and model.safetensors, a hub id, or a .gguf file")
    if offline:
        remedy += "; HF_HUB_OFFLINE=1 keeps the hub out of reach"
    return ModelError(f"the {what} of {name} cannot be loaded: {first}", remedy=remedy)
