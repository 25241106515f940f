"""Steps: settings and inputs in, one output; run once, then only if settings or contents change."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from nlft.answer.config import ServerSettings
from nlft.answer.factory import refuse_to_send_key
from nlft.config import HASHED, Config
from nlft.errors import ConfigError, IncompleteError, LimitError, NLFTError
from nlft.files import content_hash, write_lines
from nlft.grade import code_allowed, needs_permission
from nlft.pipeline.process import CrashError, call
from nlft.pipeline.verbs import RUNNERS
from nlft.prompts import load_prompts
from nlft.provenance import digest, public_name


@dataclass(frozen=True)
class Step:
    """One step of a run: `verb` is the stage that makes `output` from `inputs` under `settings`."""

    name: str
    verb: str
    settings: Config
    inputs: tuple[Path, ...]
    output: Path

    def describe(self, folder: Path) -> str:
        """The step as the command line that does the same, with paths as seen from the run's folder.

        The small steps between the stages, which have no command, are told in the same form.
        """
        given = self.settings.model_dump(mode="json", exclude_defaults=True, exclude={"source"})
        operands = [str(path) for path in self.inputs] or [getattr(self.settings, "source", "")]
        words = ["nlft", self.verb, *(_shown(path, folder) for path in operands), "-o", _relative(self.output, folder)]
        for key, value in given.items():
            flag = "--" + key.replace("_", "-")
            if isinstance(value, dict):
                words += [word for name, each in value.items() for word in (flag, f"{name}={each}")]
            elif value is not False:
                words += [flag] if value is True else [flag, _shown(value, folder)]
        return shlex.join(words)


@dataclass(frozen=True)
class Slot:
    """What one of several steps side by side may use: so many threads, one GPU where there are several.

    Once `stop` is set, no step is begun.
    """

    threads: int | None = None
    gpu: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)


class StepRecord(Config):
    """The record of a finished step."""

    fingerprint: str = Field(description="hash of its settings and of the content of its inputs")
    verb: str
    settings: dict[str, Any] = Field(description="settings that are not defaults")
    seconds: float
    peak_memory_mb: float | None = Field(description="peak memory of the step's process, or of its GPU if it used one")
    complete: bool = Field(description="false if some rows failed for good")


class StepError(NLFTError):
    """A failed step, with its error message."""

    def __init__(self, step: Step, error: NLFTError | None = None) -> None:
        said = f"{error}\n" if error is not None else ""
        super().__init__(
            f"{said}the step {step.name} failed",
            remedy="fix the error above and re-run; finished steps are kept",
        )
        self.exit_code = error.exit_code if error is not None else 1


def fingerprint(step: Step, folder: Path) -> str:
    """A hash of the step's settings and of the content of everything it reads, wherever that is."""
    inputs = [[_relative(path, folder), content_hash(path)] for path in step.inputs if path.is_relative_to(folder)]
    outside = [content_hash(path) for path in step.inputs if not path.is_relative_to(folder)]
    return digest([step.verb, _identity(step), inputs, outside])


def settings_hash(steps: Iterable[Step], folder: Path) -> str:
    """A hash of the settings of all these steps, without locations or contents of files."""
    return digest([[step.verb, _without_contents(_identity(step, folder))] for step in steps])


def sources_hash(steps: Iterable[Step], folder: Path) -> str:
    """A hash of every file outside the run's folder that the steps read or their settings name."""
    found = set()
    for step in steps:
        found |= {content_hash(path) for path in step.inputs if not path.is_relative_to(folder) and path.exists()}
        values = json.dumps(_identity(step, folder))
        found |= {part[:64] for part in values.split(HASHED)[1:]}
    return digest(sorted(found))


def read_record(folder: Path, name: str) -> StepRecord | None:
    """The record of a step that has finished here; None if it is missing or unreadable."""
    try:
        return StepRecord.model_validate_json(_record_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def refuse_old_folder(folder: Path) -> None:
    """Reject a folder of version 0.1, whose steps were command lines, so that its results cannot be identified.

    Raises:
        ConfigError: if the folder is one of those.
    """
    if (folder / "stages").is_dir():
        raise ConfigError(
            "nlft 0.1 made this folder, and this version cannot continue it",
            file=folder,
            remedy="choose another output, or move the folder",
        )


def refuse_unasked(steps: Iterable[Step]) -> None:
    """Refuse, before anything runs, what the user has not allowed: a recipe may be another's.

    Raises:
        ConfigError: naming the step whose grader is code, whose model brings code, or which sends a key elsewhere.
    """
    for step in steps:
        if isinstance(step.settings, ServerSettings):
            refuse_to_send_key(step.settings, f"the step {step.name}")
        if code_allowed():
            continue
        grader = getattr(step.settings, "grader", None)
        if needs_permission(grader):
            told = f"the step {step.name} grades with {grader}, which runs code"
            raise ConfigError(told, remedy="add --allow-code, if you trust it: its limits are no sandbox")
        if getattr(step.settings, "trust_remote_code", False):
            told = f"the step {step.name} has trust_remote_code, which runs Python code that comes with a model"
            raise ConfigError(told, remedy="add --allow-code, if you trust its authors: nothing limits that code")


def run_step(
    step: Step, folder: Path, slot: Slot | None = None, tell: Callable[[str], None] = lambda text: None
) -> bool:
    """Run a step unless it has finished with the same settings and inputs.

    Args:
        step: The step to run; its inputs exist.
        folder: The run's folder.
        slot: The threads and GPU it may use.
        tell: Called with the step's final message.

    Returns:
        Whether it ran.

    Raises:
        StepError: if it fails; KeyboardInterrupt once it has saved its work.
    """
    slot = slot or Slot()
    if slot.stop.is_set():
        raise KeyboardInterrupt
    print_ = fingerprint(step, folder)
    record = read_record(folder, step.name)
    if record is not None and record.fingerprint == print_ and step.output.exists():
        return False
    _record_path(folder, step.name).unlink(missing_ok=True)
    begun = folder / "steps" / f"{step.name}.begun"
    resume = begun.exists() and begun.read_text("utf-8").strip() == print_
    write_lines(begun, [print_])
    start = time.perf_counter()
    try:
        stage, arguments = RUNNERS[step.verb].load(resume=resume), (step.settings, *step.inputs, step.output)
        if RUNNERS[step.verb].light:
            outcome, peak = stage(*arguments), None
        else:
            outcome, peak = call(stage, *arguments, threads=slot.threads, gpu=slot.gpu)
    except CrashError:
        raise StepError(step) from None
    except NLFTError as error:
        raise StepError(step, error) from None
    tell(outcome.text)
    if isinstance(outcome.shortfall, LimitError):
        raise StepError(step, outcome.shortfall)
    record = StepRecord(
        fingerprint=print_,
        verb=step.verb,
        settings=step.settings.model_dump(mode="json", exclude_defaults=True),
        seconds=time.perf_counter() - start,
        peak_memory_mb=peak,
        complete=not isinstance(outcome.shortfall, IncompleteError),
    )
    write_lines(_record_path(folder, step.name), [json.dumps(record.model_dump(mode="json"), indent=2)])
    begun.unlink(missing_ok=True)
    return True


def _record_path(folder: Path, name: str) -> Path:
    return folder / "steps" / f"{name}.json"


def _identity(step: Step, inside: Path | None = None) -> dict[str, Any]:
    """The settings that decide the step's output, with a built-in prompt set as text; see `Config.identity`."""
    row = step.settings.identity(inside)
    if isinstance(row.get("prompts"), str) and not row["prompts"].startswith(HASHED):
        row["prompts"] = digest(load_prompts(row["prompts"]).model_dump(mode="json"))
    return row


def _without_contents(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_contents(each) for key, each in value.items()}
    return value.partition(HASHED)[0] + "FILE" if isinstance(value, str) and HASHED in value else value


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _shown(value: Any, folder: Path) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if not isinstance(value, str):
        return json.dumps(value)
    return _relative(Path(value), folder) if Path(value).is_relative_to(folder) else public_name(value)
