"""A tiny world: a random two-layer model and a byte-level tokenizer, made on the spot from a config.

It knows nothing, and answers in gibberish: what it shows is mechanics, never accuracy.
"""

from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]


def tiny_tokenizer() -> Any:
    """One token per byte, and the marks of the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[2:],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_model(folder: Path, kind: str = "llama", seed: int = 0, **config: Any) -> Path:
    """Save a random model with its tokenizer into `folder`, as `save_pretrained` lays it out.

    Args:
        folder: Where to; made if needed.
        kind: A causal model type of transformers, such as "llama" or "qwen2".
        seed: Of the weights.
        config: Overrides of the config.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.3,  # large enough that tokens differ in probability
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(sizes | config)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def tiny_rows(path: Path, n: int, *, answered: bool) -> Path:
    """Write `n` sums as problems; with responses, every second of them wrong."""
    import json

    with path.open("w", encoding="utf-8") as stream:
        for i in range(n):
            reference = f"{i} + 2 = {i + 2}\n#### {i + 2}"
            row = {"id": f"{path.stem}-{i}", "question": f"What is {i} + 2?", "reference": reference}
            if answered:
                row["response"] = reference if i % 2 else f"{i} + 2 = {i + 3}\n#### {i + 3}"
            stream.write(json.dumps(row) + "\n")
    return path
