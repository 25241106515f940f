"""The model card: what a stranger needs to know of an adapter, from its record alone; no row of the data is in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nlft.adapter.record import CARD, PROMPTS, SUMMARY, read_told, trained_file
from nlft.errors import DataError
from nlft.files.yaml import read_yaml

TEMPLATE = Path(__file__).with_name("card.md")
PAPER = "arxiv:2412.20382"


class Score(NamedTuple):
    """A result for the card: `solved` of `n` problems, with a 95 % interval.

    `problems` is the name of their file, `grade` how strictly they were graded.
    """

    problems: str
    grade: str
    solved: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """solved / n; 0 where n is 0."""
        return self.solved / self.n if self.n else 0.0


def write_card(folder: Path, **details: Any) -> None:
    """Write `README.md` into a trained or exported folder; see `card_text`."""
    (folder / CARD).write_text(card_text(folder, **details), encoding="utf-8")


def card_text(
    folder: Path,
    *,
    repo: str | None = None,
    base_model: str | None = None,
    license: str | None = None,
    scores: Sequence[Score] = (),
) -> str:
    """The card of a folder that `nlft train` or `nlft export` wrote.

    Args:
        folder: Holds the record of the training.
        repo: The hub id under which it will be found; by default the folder's name.
        base_model: Hub id of the base model, where the record only knows the name of a folder.
        license: The licence's id on the hub.
        scores: What was measured.

    Raises:
        DataError: for a folder without that record.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    told, prompts, summary = read_told(folder), trained_file(folder, PROMPTS), trained_file(folder, SUMMARY)
    if told is None or prompts is None or summary is None:
        raise DataError(
            "this folder has no record of its training", file=folder, remedy="give a folder that `nlft train` wrote"
        )
    told = told.model_copy(update={"base_model": base_model}) if base_model is not None else told
    made: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    lora = (folder / "adapter_config.json").is_file()
    name = repo or folder.resolve().name
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="custom",
            dataset_name=score.problems,
            metric_type="accuracy",
            metric_name=f"accuracy, {score.grade} (n = {score.n})",
            metric_value=round(score.share, 4),
        )
        for score in scores
    ]
    data = ModelCardData(
        base_model=told.base_model,
        library_name="peft" if lora else "transformers",
        pipeline_tag="text-generation",
        license=license,
        tags=["nlft", PAPER, *(["lora"] if lora else [])],
        model_name=name.rpartition("/")[2] if results else None,
        eval_results=results or None,
    )
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        name=name.rpartition("/")[2],
        repo=repo or "PATH",
        kind=("A LoRA adapter for" if lora else "A model made from") + f" {told.base_model}, trained",
        is_adapter=lora,
        told=told,
        objective=made["objective"],
        command_use="nlft answer problems.jsonl -o answers.jsonl --model "
        + (f"{told.base_model} --adapter PATH" if lora else "PATH --prompts PATH/prompts.yaml"),
        instruction="\n".join(f"    {line}" for line in str(read_yaml(prompts)["solve"]).splitlines()),
        facts=[(label, _cell(value)) for label, value in _facts(folder, told, made)],
        settings=json.dumps({k: v for k, v in told.settings.items() if v is not None}, indent=1, ensure_ascii=False),
        scores=scores,
    )
    return str(card)


def _facts(folder: Path, told: Any, made: dict[str, Any]) -> list[tuple[str, str]]:
    made_by = made["provenance"]
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    quantized = f", quantized to {told.quantization}" if told.quantization else ""
    versions = ", ".join(f"{name} {version}" for name, version in made_by["versions"].items())
    return [
        ("base model", f"{told.base_model}{quantized}"),
        ("data", f"{told.data_file or 'rows'} ({told.rows} rows, SHA-256 {told.data[:16]})"),
        ("seed", str(made["seed"])),
        ("steps", f"{made['steps']}, mean loss {made['loss']:.4f}"),
        ("trained parameters", f"{made['trainable']:,}"),
        ("size", f"{size / 1e6:.2f} MB"),
        ("time", f"{made['seconds']:.0f} s on {made_by['device']}"),
        ("command", f"`{made_by['command']}`"),
        ("versions", versions + (f"; commit {made_by['commit'][:12]}" if made_by.get("commit") else "")),
    ]


def _cell(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
