"""The record in an adapter's folder: written when training begins, read by whatever uses the adapter.

prompts.yaml         the prompt set, as text
chat_template.jinja  the chat template, with nothing left open (the tokenizer is saved with it)
settings.json        what the run was told (`Told`)
train.json           what came of it
README.md            the model card
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError

from nlft.config import Config
from nlft.errors import DataError
from nlft.files import write_lines
from nlft.prompts import PromptSet
from nlft.provenance import digest
from nlft.records import Judged

PROMPTS, TEMPLATE, SETTINGS, SUMMARY, CARD = (
    "prompts.yaml", "chat_template.jinja", "settings.json", "train.json", "README.md",
)  # fmt: skip
# What is handed over: no data, no logs, no state of the trainer, and nothing that is a pickle.
FILES = re.compile(
    r"adapter_config\.json|adapter_model\.safetensors|config\.json|generation_config\.json"
    r"|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|tokenizer\.model|merges\.txt"
    + "".join(f"|{re.escape(name)}" for name in (PROMPTS, TEMPLATE, SETTINGS, SUMMARY, CARD))
)
# A resumed run may change these: they decide when a state is saved, not what is learnt.
FREE = frozenset({"save_steps", "keep_checkpoints"})


@dataclass(frozen=True)
class Source:
    """What a run's record holds of its command: the settings, in the user's words, and the file of the rows."""

    file: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Told(Config):
    """What a training run was told: whoever resumes it must tell it the same."""

    version: Literal[1] = 1
    base_model: str = Field(description="hub id of the base model, or the name of its folder or file")
    quantization: str | None = Field(default=None, description="how the base model was quantized")
    rows: int = Field(description="training rows")
    data: str = Field(description="hash of the training rows")
    data_file: str | None = Field(default=None, description="their file, by name")
    prompts: str = Field(description="hash of the prompt set")
    chat_template: str = Field(description="hash of the chat template")
    settings: dict[str, Any] = Field(description="the settings of training")

    @classmethod
    def of(
        cls,
        rows: Iterable[Judged],
        source: Source,
        *,
        model: str,
        quantization: str | None,
        prompts: PromptSet,
        chat_template: Any,
    ) -> Self:
        """The record of a run on these rows."""
        texts = [row.model_dump(mode="json") for row in rows]
        return cls(
            base_model=model_id(model),
            quantization=quantization,
            rows=len(texts),
            data=digest(texts),
            data_file=source.file.name if source.file is not None else None,
            prompts=digest(prompts.model_dump(mode="json")),
            chat_template=digest(chat_template),
            settings=json.loads(json.dumps(dict(source.settings))),
        )

    def changes(self, other: Told) -> list[str]:
        """What another run was told otherwise, in words.

        >>> told = Told(base_model="m", rows=1, data="a", prompts="b", chat_template="c", settings={"epochs": 2})
        >>> told.changes(told.model_copy(update={"data": "d", "settings": {"epochs": 3}}))
        ['the data', 'epochs (2, now 3)']
        """
        names = {"base_model": "the model", "quantization": "quantization", "data": "the data"}
        names |= {"prompts": "the prompts", "chat_template": "the chat template"}
        found = [words for name, words in names.items() if getattr(self, name) != getattr(other, name)]
        for name in sorted({*self.settings, *other.settings} - FREE):
            before, now = self.settings.get(name), other.settings.get(name)
            if before != now:
                found.append(f"{name} ({json.dumps(before)}, now {json.dumps(now)})")
        return found


def begin(folder: Path, told: Told, prompts: PromptSet, *, resume: bool) -> None:
    """Write what the run is told into its folder; a run that is resumed must be told what it was told before.

    Raises:
        DataError: naming what has changed.
    """
    before = read_told(folder) if resume else None
    if before is not None and (changes := before.changes(told)):
        raise DataError(
            f"cannot resume: since this run began, there is a change in {', '.join(changes)}",
            file=folder,
            remedy="undo the change, or start afresh with --overwrite or another -o",
        )
    write_lines(folder / SETTINGS, [json.dumps(told.model_dump(mode="json"), indent=1, ensure_ascii=False)])
    text = yaml.safe_dump(prompts.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    write_lines(folder / PROMPTS, text.splitlines())


def read_told(folder: str | Path) -> Told | None:
    """What the run was told that trained this adapter, if that is on record.

    Raises:
        DataError: for a record that cannot be read.
    """
    path = trained_file(folder, SETTINGS)
    if path is None:
        return None
    try:
        return Told.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        raise DataError(
            "this record of a training run cannot be read", file=path, remedy="restore the file, or remove it"
        ) from None


def trained_file(folder: str | Path, name: str) -> Path | None:
    """A file that training left in an adapter's folder; for a checkpoint, also in the folder of its run."""
    folder = Path(folder)
    homes = [folder, *([folder.parent] if folder.name.startswith("checkpoint-") else [])]
    return next((home / name for home in homes if (home / name).is_file()), None)


def finish(folder: Path, base_model: str) -> None:
    """Make a finished folder fit to be given away: no place on this machine, ordinary file modes.

    Checkpoints keep the state that `--resume` needs, which torch pickles; they are never handed over.
    """
    for path in [*folder.glob("checkpoint-*/README.md"), folder / CARD]:
        path.unlink(missing_ok=True)  # PEFT's, which names the base model by its path
    for path in [*folder.glob("checkpoint-*/adapter_config.json"), folder / "adapter_config.json"]:
        if path.is_file():
            name_base(path, base_model)
    open_modes(folder)


def drop_arguments(folder: str | Path) -> None:
    """Remove the trainer's arguments, which transformers pickles beside the weights; resuming does not read them."""
    (Path(folder) / "training_args.bin").unlink(missing_ok=True)


def open_modes(folder: Path) -> None:
    """Give the files in a folder the modes that any other file would get; safetensors writes for its owner only."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~mask)


def read_base(folder: Path) -> str:
    """The base model that an adapter names."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return str(config.get("base_model_name_or_path") or "")


def served_rank(folder: Path) -> int:
    """What vLLM must be told as the largest rank, to serve an adapter: the least of those it takes that is enough."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    most = max(config.get("r", 0), *(config.get("rank_pattern") or {}).values(), 0)
    return next((each for each in (8, 16, 32, 64, 128, 256, 320) if each >= most), 512)


def name_base(path: Path, base_model: str) -> None:
    """Name the base model in an `adapter_config.json`."""
    config = json.loads(path.read_text(encoding="utf-8"))
    write_lines(path, [json.dumps({**config, "base_model_name_or_path": base_model}, indent=2, sort_keys=True)])


def handed_over(folder: Path) -> list[Path]:
    """The files of a trained folder that are given away, by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and FILES.fullmatch(path.name))


def copy_adapter(source: Path, target: Path) -> None:
    """Copy what is handed over; of a checkpoint, also what the folder of its run says."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (PROMPTS, SETTINGS, SUMMARY):
        if (path := trained_file(source, name)) is not None:
            shutil.copyfile(path, target / name)
    for path in handed_over(source):
        shutil.copyfile(path, target / path.name)


def model_id(name_or_path: str) -> str:
    """A model's hub id; for a folder or file its name, since its place on this machine is of no use elsewhere.

    >>> model_id("HuggingFaceTB/SmolLM2-135M-Instruct"), model_id("/no/such/models--org--name/snapshots/0a1b")
    ('HuggingFaceTB/SmolLM2-135M-Instruct', 'org/name')
    """
    cached = re.search(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]", name_or_path)
    if cached:
        return f"{cached[1]}/{cached[2]}"
    path = Path(name_or_path).expanduser()
    if path.suffix == ".gguf":
        return path.stem
    return path.resolve().name if path.exists() or path.is_absolute() else name_or_path
