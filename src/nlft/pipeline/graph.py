"""Stages as command lines: run once, remembered by a fingerprint, run again only when something changed."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from nlft.config import Config
from nlft.errors import IncompleteError, LimitError, NLFTError
from nlft.pipeline.workshop import run_command
from nlft.provenance import adapter_hash, digest, tree_hash
from nlft.records import write_lines

__all__ = ["Stage", "StageError", "StageRecord", "fingerprint", "read_stage", "relative", "run_stage", "sources_hash"]

# Files of a folder given as a setting (a model, a data set) are hashed up to this size, larger ones told by size.
SMALL = 1 << 20
FAILED_ROWS = IncompleteError.exit_code  # of a stage that finished


@dataclass(frozen=True)
class Stage:
    """One command of a run: `nlft <words>`, what it reads and what it leaves, inside the run's folder."""

    name: str
    words: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    again: tuple[str, ...] = ()  # added where the same stage was begun here before, to go on with it
    anew: tuple[str, ...] = ()  # added otherwise, to replace what another run of it left
    before: Callable[[], None] | None = None  # makes its inputs from other stages' outputs; cheap, the same each time

    @property
    def command(self) -> str:
        """The command line, as one could type it."""
        return shlex.join(["nlft", *self.words])


class StageRecord(Config):
    """What is kept of a finished stage."""

    fingerprint: str = Field(description="of its settings and of the content of its inputs")
    command: str
    seconds: float
    peak_memory_mb: float | None = Field(description="resident, of the stage's own process")
    exit_code: int = Field(description="0, or 3 where some rows failed for good")


class StageError(NLFTError):
    """A stage whose command failed; its message is on stderr already."""

    def __init__(self, stage: Stage, code: int) -> None:
        super().__init__(
            f"the stage {stage.name} stopped with exit code {code}",
            remedy=f"mend what it says above and run again: finished stages are kept (its command: {stage.command})",
        )
        self.exit_code = code if code in (1, 2, LimitError.exit_code, 130) else 1


def fingerprint(stage: Stage, folder: Path) -> str:
    """A hash of the stage's settings and the content of everything it reads.

    Paths inside the run's folder count by name and content only, so a folder may be moved.
    """
    words = [relative(word, folder) for word in stage.words]
    # The verb is no path, though a folder `data` or `train` may well lie here.
    outside = {word: _content(word) for word in stage.words[1:] if not Path(word).is_relative_to(folder)}
    return digest(
        {
            "words": words,
            "inputs": [[relative(str(path), folder), _input_hash(path)] for path in stage.inputs],
            "outside": {word: content for word, content in outside.items() if content is not None},
        }
    )


def sources_hash(stages: Sequence[Stage], folder: Path) -> str:
    """A hash of the content of every file from outside the run's folder that the stages name, wherever it lies."""
    words = {word for stage in stages for word in stage.words[1:] if not Path(word).is_relative_to(folder)}
    paths = {path for word in words if (path := _named(word)) is not None}
    return digest(sorted(tree_hash(path) for path in paths if path.is_file()))


def read_stage(folder: Path, name: str) -> StageRecord | None:
    """The record of a stage that has finished here; None where there is none, or it cannot be read."""
    try:
        return StageRecord.model_validate_json(_record_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def run_stage(stage: Stage, folder: Path) -> bool:
    """Run a stage unless it has finished with the same settings and inputs.

    Returns:
        Whether it was run.

    Raises:
        StageError: when its command fails; KeyboardInterrupt after it has put its work away.
    """
    if stage.before is not None:
        stage.before()
    print_ = fingerprint(stage, folder)
    record = read_stage(folder, stage.name)
    if record is not None and record.fingerprint == print_ and all(path.exists() for path in stage.outputs):
        return False
    _record_path(folder, stage.name).unlink(missing_ok=True)
    begun = folder / "stages" / f"{stage.name}.begun"
    more = stage.again if begun.exists() and begun.read_text("utf-8").strip() == print_ else stage.anew
    write_lines(begun, [print_])
    start = time.perf_counter()
    code, memory = run_command((*stage.words, *more))
    if code == 130:
        raise KeyboardInterrupt
    if code not in (0, FAILED_ROWS):
        raise StageError(stage, code)
    record = StageRecord(
        fingerprint=print_,
        command=shlex.join(["nlft", *(relative(word, folder) for word in stage.words)]),
        seconds=time.perf_counter() - start,
        peak_memory_mb=memory,
        exit_code=code,
    )
    write_lines(_record_path(folder, stage.name), [json.dumps(record.model_dump(mode="json"), indent=2)])
    begun.unlink(missing_ok=True)
    return True


def _record_path(folder: Path, name: str) -> Path:
    return folder / "stages" / f"{name}.json"


def relative(word: str, folder: Path) -> str:
    """A path inside the folder as seen from there; any other word as it is."""
    path = Path(word)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else word


def _input_hash(path: Path) -> str:
    return adapter_hash(path) if path.is_dir() else tree_hash(path)


def _content(word: str) -> str | None:
    """A hash of the file or folder that a setting names; None where it names none."""
    path = _named(word)
    if path is None:
        return None
    if path.is_file():
        return tree_hash(path)
    files = sorted(file for file in path.iterdir() if file.is_file())
    return digest([[f.name, f.stat().st_size, tree_hash(f) if _small(f) else ""] for f in files])


def _named(word: str) -> Path | None:
    """The file or folder that a setting names, also as `replay:FILE`."""
    for name in (word, word.partition(":")[2]):
        with contextlib.suppress(OSError):
            if name and (Path(name).is_file() or Path(name).is_dir()):
                return Path(name)
    return None


def _small(file: Path) -> bool:
    return file.stat().st_size <= SMALL
