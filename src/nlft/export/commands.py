"""The commands that serve what was exported; printed, never run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from nlft.adapter.record import served_rank


def serving_commands(folder: Path, base: str | None = None) -> str:
    """How to serve a merged model, or an adapter on its `base`, with vLLM and llama.cpp, and how to ask it."""
    name, place = folder.resolve().name, shlex.quote(str(folder))
    gguf, template = shlex.quote(f"{folder}.gguf"), shlex.quote(str(folder / "chat_template.jinja"))
    if base is None:
        served = [
            ("vLLM", f"vllm serve {place} --served-model-name {shlex.quote(name)}"),
            ("GGUF", f"python llama.cpp/convert_hf_to_gguf.py {place} --outfile {gguf}"),
            ("llama.cpp", f"llama-server -m {gguf} --jinja"),
        ]
    else:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        on, lora = shlex.quote(base), shlex.quote(f"{name}={folder}")
        where = "--base" if Path(base).is_dir() else "--base-model-id"
        served = [
            (
                "vLLM",
                f"vllm serve {on} --enable-lora --lora-modules {lora} --max-lora-rank {served_rank(folder)} --chat-template {template}",
            ),
            ("GGUF", f"python llama.cpp/convert_lora_to_gguf.py {place} {where} {on} --outfile {gguf}"),
            ("llama.cpp", f"llama-server -m BASE.gguf --lora {gguf} --jinja --chat-template-file {template}"),
        ]
        if config.get("use_dora"):
            served = [("servers", "neither vLLM nor llama.cpp serves a DoRA adapter: export it with --merge")]
    prompts = shlex.quote(str(folder / "prompts.yaml"))
    ask = f"nlft evaluate test.jsonl -o eval.json --model {shlex.quote(name)} --base-url http://localhost:8000/v1"
    served.append(("to ask it", f"{ask} --prompts {prompts}"))
    width = max(len(label) for label, _ in served)
    return "\n".join(f"{label:{width}}  {command}" for label, command in served)
