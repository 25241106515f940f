"""Tokenizers of the usual kinds, built on the spot around the chat templates that TRL ships."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

TEMPLATES = Path(str(importlib.util.find_spec("trl").origin)).parent / "chat_templates"  # type: ignore[union-attr]
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "What is 2 + 2? It is 4, as 2 + 2 = 4.\n#### 4\n\nSolve the problem step by step. Here is the standard answer:",
    "Give your own response in the same format. A weak response was judged as follows: assistant user system model",
]
MARK = re.compile(
    r"<\|[^<>{}\s'\"|]+\|>|<\|\w+>|<\w+\|>|<｜[^<>]+?｜>|</?think>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>"
)


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        name: The template's file in TRL, or `smollm2`, or `plain`.
        opening, closing: What is trained before and after the response; written by hand from the rendering.
        kind: "bytes" is byte-level BPE, "pieces" SentencePiece-like, "prefixed" the same with a space put before a text.
        eos, bos: The tokenizer's own.
        thinking: The setting.
        twin: TRL's training template, whose generation marks say which text is trained; None where it ships none.
        cue: What the twin marks although the generation prompt holds it already, so that no model ever writes it.
        beyond: What the twin marks after the token that stops generation, besides white space.
        thought: The empty thought that the twin is given as part of the response.
    """

    name: str
    closing: str
    opening: str = ""
    kind: Literal["bytes", "pieces", "prefixed"] = "bytes"
    eos: str = "<|endoftext|>"
    bos: str | None = None
    thinking: Literal["auto", "on", "off"] = "auto"
    twin: str | None = None
    cue: str = ""
    beyond: str = ""
    thought: str = ""

    def __str__(self) -> str:
        return self.name if self.thinking == "auto" else f"{self.name}-{self.thinking}"

    @property
    def template(self) -> str | None:
        """The template's text; None for a base model."""
        if self.name == "plain":
            return None
        return SMOLLM2 if self.name == "smollm2" else (TEMPLATES / f"{self.name}.jinja").read_text(encoding="utf-8")

    def tokenizer(self) -> Any:
        """A new tokenizer with the template as it is shipped."""
        return build(self.template, kind=self.kind, eos=self.eos, bos=self.bos)


def build(template: str | None, *, kind: str = "bytes", eos: str = "<|endoftext|>", bos: str | None = None) -> Any:
    """A tokenizer trained on a few words, in which every mark of the template is a token."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(byte_fallback=kind != "bytes", unk_token=None))
    alphabet, first = pre_tokenizers.ByteLevel.alphabet(), []
    if kind == "bytes":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    else:
        spaces = [normalizers.Replace(" ", "▁")]
        made.normalizer = normalizers.Sequence([*([normalizers.Prepend("▁")] if kind == "prefixed" else []), *spaces])
        made.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet, first = list("abcdefghijklmnopqrstuvwxyz▁"), [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=520, initial_alphabet=alphabet, special_tokens=first, show_progress=False, limit_alphabet=400
    )
    made.train_from_iterator(CORPUS, trainer)
    if bos is not None:
        made.add_special_tokens([bos])
        pair = (bos, made.token_to_id(bos))
        made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[pair])
    marks = sorted({eos, *MARK.findall(template or "")})
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=eos,
        bos_token=bos,
        additional_special_tokens=marks,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    return fast


CLOSED = "\n</think>\n\n"
FAMILIES = [
    Family("llama3", "<|eot_id|>", eos="<|end_of_text|>", bos="<|begin_of_text|>", twin="llama3_training"),
    Family("llama3_1", "<|eot_id|>", eos="<|eot_id|>", bos="<|begin_of_text|>"),
    Family("llama3_2", "<|eot_id|>", eos="<|eot_id|>", bos="<|begin_of_text|>"),
    Family("qwen2_5", "<|im_end|>", eos="<|im_end|>", twin="qwen2_5_training", cue="\n"),
    Family(
        "qwen3", "<|im_end|>", eos="<|im_end|>", thinking="off", twin="qwen3_training", cue="<think>\n\n</think>\n\n"
    ),
    Family("qwen3", "<|im_end|>", "<think>\n\n</think>\n\n", eos="<|im_end|>", thinking="on", twin="qwen3_training"),
    Family("qwen3_5_think", "<|im_end|>", CLOSED, eos="<|im_end|>", thinking="on", twin="qwen3_5_think_training", cue="<think>\n"),
    Family("gemma", "<end_of_turn>", kind="pieces", eos="<eos>", bos="<bos>", twin="gemma_training"),
    Family("gemma3", "<end_of_turn>", kind="pieces", eos="<eos>", bos="<bos>", twin="gemma3_training"),
    Family("gemma4", "<turn|>", kind="pieces", eos="<eos>", bos="<bos>"),
    Family("phi3", "<|end|>", kind="prefixed", bos="<s>", twin="phi3_training", beyond="<|endoftext|>"),
    Family("phi3_5", "<|end|>", kind="prefixed", bos="<s>", twin="phi3_5_training", beyond="<|endoftext|>"),
    Family(
        "gptoss", "<|return|>", "<|channel|>final<|message|>", eos="<|return|>", twin="gptoss_training",
        cue="<|start|>assistant",
    ),
    Family(
        "deepseek_r1_distill", "<｜end▁of▁sentence｜>", CLOSED, eos="<｜end▁of▁sentence｜>", bos="<｜begin▁of▁sentence｜>",
        twin="deepseek_r1_distill_training", cue="<｜Assistant｜><think>\n", thought="<think>\n\n</think>\n\n",
    ),
    Family("deepseekv3", "<｜end▁of▁sentence｜>", CLOSED, eos="<｜end▁of▁sentence｜>", bos="<｜begin▁of▁sentence｜>"),
    Family("glm4moe", "<|user|>", "\n", thinking="off", twin="glm4moe_training", cue="\n<think></think>"),
    Family("glm4moe", "<|user|>", "\n<think></think>\n", thinking="on", twin="glm4moe_training"),
    Family("nemotron_3_nano", "<|im_end|>", "</think>", eos="<|im_end|>", thinking="on"),
    Family("lfm2", "<|im_end|>", eos="<|im_end|>", bos="<|startoftext|>", twin="lfm2_training"),
    Family("cohere2", "<|END_RESPONSE|>", eos="<|END_OF_TURN_TOKEN|>", bos="<BOS_TOKEN>"),
    Family("smollm2", "<|im_end|>", eos="<|im_end|>"),
    Family("plain", "<|endoftext|>", bos="<s>"),
]  # fmt: skip
