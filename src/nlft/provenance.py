"""Where a number comes from: command, commit, versions, device, and hashes of the inputs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import Field

from nlft.config import Config
from nlft.errors import DataError
from nlft.prompts import AROUND
from nlft.records import Problem

PACKAGES = ("nlft", "torch", "transformers", "peft", "accelerate", "numpy", "scipy")


class Provenance(Config):
    """What you need to reproduce a number."""

    command: str = Field(description="the command line, or the script's name when called from Python")
    commit: str | None = Field(
        description="commit of the git checkout the package runs from; '-dirty' if it has changes"
    )
    versions: dict[str, str] = Field(description="versions of Python and the main packages")
    device: str = Field(description="cpu, cuda or mps, with the machine's name for it")
    threads: int = Field(description="CPU threads torch may use")


def provenance(device: str = "cpu") -> Provenance:
    """The provenance of what this process computes on `device`."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Provenance(
        command=_command(),
        commit=_commit(Path(__file__).parent),
        versions=versions,
        device=_device_name(device),
        threads=_threads(),
    )


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys), as 64 hex digits.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def data_hash(problems: Iterable[Problem]) -> str:
    """Hash of the problems: id, question, reference and what else the model reads of each, in any order."""
    return digest(sorted(_asked(p) for p in problems))


def _asked(problem: Problem) -> list[str]:
    """What the model reads of a problem; a conversation around the question counts where there is one."""
    row = problem.model_extra or {}
    around = {name: row[name] for name in AROUND if row.get(name)}
    return [problem.id, problem.question, problem.reference, *([digest(around)] if around else [])]


def adapter_hash(folder: str | Path) -> str:
    """Hash of a LoRA adapter's config and weights; ignores checkpoints and logs in the same folder.

    Raises:
        DataError: if the folder holds no adapter.
    """
    entries = []
    for path in (Path(folder) / "adapter_config.json", Path(folder) / "adapter_model.safetensors"):
        if not path.exists():
            raise DataError("no such file or folder", file=path, remedy="check the path")
        with path.open("rb") as stream:
            entries.append([path.name, digest([["", hashlib.file_digest(stream, "sha256").hexdigest()]])])
    return digest(entries)


def peak_memory_mb(device: str = "cpu") -> float | None:
    """Peak memory in MiB: allocated by torch on a CUDA device, else resident in this process so far.

    None if the system does not record it (Windows).
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_mb() -> float:
    """Memory resident in this process now, in MiB; the peak so far where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return peak_memory_mb() or 0.0
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 2**10


def public_name(path_or_name: str) -> str:
    """The name of a model or file in results: a relative path below the working folder, else the last part.

    Where you keep a file on your machine is not part of a result, and should not be published with it.

    >>> elsewhere = Path.cwd().parent / "models" / "smollm2-135m"
    >>> public_name(str(elsewhere)), public_name("HuggingFaceTB/SmolLM2-135M-Instruct")
    ('smollm2-135m', 'HuggingFaceTB/SmolLM2-135M-Instruct')
    """
    path = Path(path_or_name)
    if not path.is_absolute():
        return path_or_name
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def _command() -> str:
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name or "python", *map(_public_word, sys.argv[1:])])


def _public_word(word: str) -> str:
    """A word of the command, with the name of a file in place of its absolute path, as in `--model=/FOLDER/model`."""
    found = re.fullmatch(r"([\w.-]+[=:])?(/(?!/).*)", word)
    return (found[1] or "") + public_name(found[2]) if found else word


def _commit(folder: Path) -> str | None:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        # A checkout that merely surrounds an installed package (a virtual environment) does not describe it.
        if not git("ls-files", "--", str(Path(__file__).name)):
            return None
        return commit + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return f"cuda ({torch.cuda.get_device_name()})"
    return f"{device} ({_cpu_model()}, {os.cpu_count()} cores)"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names: Mapping[str, str] = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return names.get("model name", platform.machine())


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else int(os.environ.get("OMP_NUM_THREADS", "1") or 1)
