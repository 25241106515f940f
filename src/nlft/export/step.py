"""The export step: an adapter's folder becomes a model of its own, or a folder for a server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nlft.adapter import Score, copy_adapter, model_id, read_told, write_card
from nlft.adapter.record import PROMPTS, SETTINGS, SUMMARY, handed_over, name_base, open_modes, read_base, trained_file
from nlft.errors import ConfigError, DataError, ModelError
from nlft.evaluate.evaluation import read_evaluation
from nlft.export.commands import serving_commands
from nlft.export.compare import answers, compare
from nlft.export.config import ExportSettings
from nlft.progress import Outcome
from nlft.prompts import load_prompts
from nlft.records import Problem, read_records


def run(settings: ExportSettings, adapter: Path, output: Path, *, overwrite: bool = False) -> Outcome:
    """Export an adapter to the folder `output`, which is there whole, and checked, or not at all.

    Raises:
        DataError: for a folder that is no adapter, or an `output` that exists.
        ConfigError: if the base model's place is unknown, or it is quantized otherwise than it was in training.
        ModelError: if the merged model answers otherwise than merging explains.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise DataError("this folder holds no adapter", file=adapter, remedy="give the folder that `nlft train` wrote")
    if trained_file(adapter, SETTINGS) is None:
        remedy = "train it again with this version, or merge it with PEFT's own merge_and_unload"
        raise DataError("this adapter has no record of its training", file=adapter, remedy=remedy)
    _refuse_to_lose(adapter, output, overwrite)
    base = settings.model or read_base(adapter)
    if settings.merge and "/" not in base and not Path(base).exists():
        told = f'the adapter knows its base model by the name of a folder only: "{base}"'
        raise ConfigError(told, file=adapter, remedy="say where it is with --model")
    scores = scores_of(map(Path, settings.evaluation))
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        said = _merge(settings, base, adapter, folder) if settings.merge else _copy(adapter, folder, base)
        write_card(folder, license=settings.license, scores=scores, base_model=model_id(base))
        open_modes(folder)
        if output.exists():
            shutil.rmtree(output)
        folder.rename(output)
    commands = serving_commands(output, None if settings.merge else base)
    return Outcome(f"{said}{output}\n\n{commands}")


def _refuse_to_lose(adapter: Path, output: Path, overwrite: bool) -> None:
    """Keep what exists at `output`, unless it is an earlier export that is to be replaced."""
    if not output.exists():
        return
    kept = not output.is_dir() or adapter.resolve().is_relative_to(output.resolve())
    if kept or not overwrite or set(output.iterdir()) - set(handed_over(output)):
        remedy = "choose another -o" + (
            "" if kept or overwrite else ", or add --overwrite to replace an earlier export"
        )
        raise DataError("this exists already", file=output, remedy=remedy)


def scores_of(paths: Iterable[Path]) -> list[Score]:
    """The scores of evaluations, for a model card.

    Raises:
        DataError: for a file that is no evaluation.
    """
    found = []
    for path in paths:
        result = read_evaluation(path, with_rows=False)
        grades = {"strict": result.strict, "flexible": result.flexible} if result.grader is None else {}
        for grade, share in (grades or {result.grader or "": result.strict}).items():
            found.append(Score(Path(result.data).name, grade, share.count, share.n, *share.interval))
    return found


def _copy(adapter: Path, folder: Path, base: str) -> str:
    copy_adapter(adapter, folder)
    name_base(folder / "adapter_config.json", model_id(base))
    return ""


def _merge(settings: ExportSettings, base: str, adapter: Path, folder: Path) -> str:
    from nlft.lm import load_as
    from nlft.lm.merge import apart, merged, save_model, stored_dtype

    told = read_told(adapter)
    if told is not None and told.quantization != settings.quantization:
        learnt = f"quantized to {told.quantization}" if told.quantization else "that was not quantized"
        raise ConfigError(
            f"the adapter was trained on a model {learnt}, and means nothing to other weights",
            file=adapter,
            remedy=f"add --quantization {told.quantization}" if told.quantization else "drop --quantization",
        )
    if settings.dtype == "auto":
        own = stored_dtype(base, trust_remote_code=settings.trust_remote_code)
        settings = settings.model_copy(update={"dtype": own})
    problems = list(read_records(settings.dev, Problem))[: settings.check] if settings.dev is not None else []
    prompts = load_prompts(str(trained_file(adapter, PROMPTS)))
    limit = settings.max_new_tokens
    lm = apart(settings, base, adapter)
    before = answers(lm, problems, prompts, max_new_tokens=limit) if problems else []
    save_model(merged(lm, settings.dtype), folder)
    for name in (PROMPTS, SETTINGS, SUMMARY):
        if (path := trained_file(adapter, name)) is not None:
            shutil.copyfile(path, folder / name)
    if not problems:
        return f"merged in {settings.dtype}, unchecked: "
    as_saved = {"dtype": "float32", "quantization": None, "chat_template": None, "thinking": "auto"}
    lm = load_as(settings.model_copy(update=as_saved), str(folder))
    check = compare(problems, before, answers(lm, problems, prompts, max_new_tokens=limit), lm)
    if not check.explained(settings.dtype):
        raise ModelError(
            f"the merged model answers otherwise than rounding to {settings.dtype} explains\n{check}",
            file=adapter,
            remedy="check that --model and --quantization are those of the training, or give another --dtype",
        )
    return f"{check}\nmerged in {settings.dtype}: "
