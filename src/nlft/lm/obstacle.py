"""Which models cannot share prefixes, as their config tells."""

from __future__ import annotations

from typing import Any


def sharing_obstacle(base: Any) -> str | None:
    """Why the layers of a causal language model cannot share prefixes, or None if no reason is known."""
    config = base.config.get_text_config()
    if not getattr(base, "_supports_attention_backend", False):
        return "its attention cannot be exchanged"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        return "it has layers of the kind " + ", ".join(sorted(kinds - {"full_attention"}))
    if getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None):
        return "its attention slides over a window"
    if getattr(config, "attn_logit_softcapping", None) or getattr(config, "final_logit_softcapping", None):
        return "it caps its logits"
    if any(getattr(config, name, None) not in (None, 1, 1.0) for name in ("logit_scale", "logits_scaling")):
        return "it scales its logits"
    if getattr(config, "is_encoder_decoder", False):
        return "it is not a decoder-only model"
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") in ("dynamic", "longrope"):
        return "its positions depend on the length of the input"
    return None
