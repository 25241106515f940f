"""A recipe: one section per stage, its keys the options of the stage's command."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from nlft.config import Config, line_of, override, parse_config, read_yaml
from nlft.errors import ConfigError
from nlft.pipeline.graph import Stage

__all__ = ["Plan", "Preparation", "Recipe", "Section", "beside", "load_recipe", "plan"]

Section = dict[str, str | int | float | bool | list[str | int | float] | None]


class Preparation(Config):
    """What a run and an experiment share: the student, and the stages that make its judged training rows."""

    name: str = Field(pattern=r"^[\w.-]+$", description="what the run is called; its folder, where none is given")
    output: str | None = Field(default=None, description="the run's folder; runs/NAME where not given")
    model: str = Field(description="the student: folder, hub id or GGUF file")
    prompts: str = Field(default="paper", description="the prompt set of every stage that does not name its own")
    seed: int = Field(default=0, ge=0, description="of training and sampling, where a section does not name its own")
    data: Section = Field(description="the training problems: `source` (gsm8k, gsm_symbolic or a file) and options")
    answer: Section | None = Field(
        default=None, description="who answers them; left out where the problems come with responses"
    )
    grade: Section = Field(default_factory=dict, description="options of `nlft grade`")
    judge: Section = Field(default_factory=dict, description="options of `nlft judge`")
    test: Section | None = Field(default=None, description="the held-out problems, as in `data`")
    evaluate: Section = Field(default_factory=dict, description="options of `nlft evaluate`")

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return Path(self.output) if self.output is not None else Path("runs") / self.name


P = TypeVar("P", bound=Preparation)


class Rounds(Config):
    """Self-study (paper 4.1): the current adapter answers, its answers are graded and judged, and train the next."""

    k: int = Field(ge=1, description="how many rounds")
    dev: Section = Field(description="problems the best round is chosen on, as in `data`; never the test set")
    answer: Section = Field(default_factory=dict, description="options of `nlft answer`, such as samples")
    incorrect_share: float = Field(
        default=0.2, ge=0, le=1, description="largest share of incorrect examples; more slow learning (paper 6.1)"
    )
    teacher_share: float = Field(
        default=0.0, ge=0, le=1, description="share of the rows that the first training had, mixed in each round"
    )


class Recipe(Preparation):
    """All of the pipeline, from problems to the two accuracies; `nlft VERB --help` tells each section's keys."""

    rounds: Rounds | None = Field(default=None, description="self-study after the first training; left out, none")
    score: Section | None = Field(
        default=None, description="options of `nlft score`, and a saliency map of its rows; left out, nothing is scored"
    )
    train: Section | None = Field(default_factory=dict, description="options of `nlft train`; null, nothing is trained")


def load_recipe(path: str | Path, assignments: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe, every section against its command's options; `assignments` as of `override`.

    Raises:
        ConfigError: naming file, line and key, with the nearest key there is.
    """
    recipe = beside(parse_config(override(read_yaml(path), assignments), Recipe, file=path), path)
    plan(recipe, file=path)
    return recipe


def beside(recipe: P, path: str | Path) -> P:
    """The recipe with each `source` that is no file from here, but one from the recipe's folder, found there."""

    def found(section: Section) -> Section:
        source = section.get("source")
        if isinstance(source, str) and not Path(source).is_file() and (Path(path).parent / source).is_file():
            return {**section, "source": os.path.relpath(Path(path).parent / source)}
        return section

    sections = {key: getattr(recipe, key, None) for key in ("data", "test", "dev")}
    changed: dict[str, Any] = {key: found(section) for key, section in sections.items() if section}
    if isinstance(rounds := getattr(recipe, "rounds", None), Rounds):
        changed["rounds"] = rounds.model_copy(update={"dev": found(rounds.dev)})
    return recipe.model_copy(update=changed)


def plan(recipe: Recipe, *, file: str | Path | None = None) -> list[Stage]:
    """The stages of a recipe in their order; nothing is run, and no input needs to be there yet.

    Raises:
        ConfigError: for a section that its command would refuse.
    """
    builder = Plan(recipe, file)
    judged = builder.prepare()
    if recipe.score is not None:
        scored = builder.step("score", judged, "scored.jsonl", recipe.score, ("model", "prompts"))
        builder.step("view", scored, "map.html", {})
    adapter = None
    if recipe.train is not None:
        adapter = builder.train("train", judged, "adapter", recipe.train)
    chosen = None
    if recipe.rounds is not None:
        if adapter is None or recipe.train is None:
            raise ConfigError("`rounds` need a section `train`", file=file, line=line_of(file, ("rounds",)))
        from nlft.pipeline.rounds import plan_rounds

        adapter, chosen = plan_rounds(builder, recipe.rounds, recipe.train, judged, adapter)
    if recipe.test is None:
        if recipe.evaluate:
            raise ConfigError(
                "the section `evaluate` has nothing to evaluate on",
                file=file,
                line=line_of(file, ("evaluate",)),
                remedy="add the section `test`, or leave `evaluate` out",
            )
    else:
        test = builder.data("test", "test.jsonl", recipe.test)
        builder.evaluate("before", test, None, "before.json", recipe.evaluate)
        if adapter is not None:
            builder.evaluate("after", test, adapter, "after.json", recipe.evaluate, chosen)
    return builder.stages


class Plan:
    """Collects stages; each is checked by its command's own parser as it is added."""

    def __init__(self, recipe: Preparation, file: str | Path | None) -> None:
        self.recipe, self.file, self.folder = recipe, file, recipe.folder
        self.stages: list[Stage] = []

    def prepare(self) -> Path:
        """The stages up to the judged rows; where those go."""
        recipe = self.recipe
        rows = self.data("data", "problems.jsonl", recipe.data)
        if recipe.answer is not None:
            student = recipe.answer.get("answerer") in (None, "local") and not recipe.answer.get("base_url")
            keys = ("model", "prompts", "seed")
            rows = self.step("answer", rows, "answers.jsonl", recipe.answer, keys if student else keys[1:])
        graded = self.step("grade", rows, "graded.jsonl", recipe.grade)
        return self.judge(graded, "judged.jsonl")

    def judge(self, graded: Path, output: str, name: str = "judge", adapter: Path | None = None) -> Path:
        """Words for what is wrong; a judge that is the student itself has its model, and its adapter so far."""
        section = self.recipe.judge
        if section.get("judge") != "self":
            return self.step("judge", graded, output, section, ("prompts",), name)
        if adapter is None:
            return self.step("judge", graded, output, section, ("prompts", "model"), name)
        section = {"adapter": str(adapter), **section}
        return self.step("judge", graded, output, section, ("prompts", "model"), name, (adapter,))

    def data(self, name: str, output: str, section: Section, place: str | None = None) -> Path:
        """Problems from a source."""
        options = dict(section)
        source = options.pop("source", None)
        if not isinstance(source, str):
            raise ConfigError(
                f'the key "{place or name}.source" is missing',
                file=self.file,
                remedy="gsm8k, gsm_symbolic, or the name of a file of problems",
            )
        inputs = (Path(source),) if Path(source).is_file() else ()
        return self._add(Stage(name, ("data", source), inputs, (self.folder / output,)), options, place)

    def step(
        self,
        verb: str,
        source: Path,
        output: str,
        section: Section,
        shared: tuple[str, ...] = (),
        name: str | None = None,
        more: tuple[Path, ...] = (),
    ) -> Path:
        """A stage from one file to the next; `more` is what else it reads."""
        stage = Stage(name or verb, (verb, str(source)), (source, *more), (self.folder / output,))
        return self._add(stage, self._shared(verb, section, shared), section=verb)

    def train(
        self,
        name: str,
        rows: Path,
        output: str,
        section: Section,
        extra: tuple[Path, ...] = (),
        before: Callable[[], None] | None = None,
    ) -> Path:
        """Training on judged rows; an interrupted one goes on from its last checkpoint."""
        stage = Stage(
            name,
            ("train", str(rows)),
            (rows, *extra),
            (self.folder / output,),
            again=("--resume",),
            anew=("--overwrite",),
            before=before,
        )
        return self._add(stage, self._shared("train", section, ("model", "prompts", "seed")), section="train")

    def evaluate(
        self,
        name: str,
        test: Path,
        adapter: Path | None,
        output: str,
        section: Section,
        before: Callable[[], None] | None = None,
    ) -> Path:
        """Evaluation of the model, or of an adapter on it; a change of settings asks for new rows."""
        options = self._shared("evaluate", section, ("model", "prompts", "seed"))
        if adapter is not None:
            options["adapter"] = str(adapter)
        inputs = (test,) if adapter is None else (test, adapter)
        stage = Stage(
            name, ("evaluate", str(test)), inputs, (self.folder / output,), anew=("--overwrite",), before=before
        )
        return self._add(stage, options, section="evaluate")

    def _shared(self, verb: str, section: Section, keys: tuple[str, ...]) -> Section:
        """The section with the recipe's own model, prompts and seed where it names none and the verb takes them."""
        from nlft.cli.command_line import verb_options

        known = verb_options(verb)
        return {**{key: getattr(self.recipe, key) for key in keys if key in known}, **section}

    def _add(self, stage: Stage, options: Section, section: str | None = None) -> Path:
        """Check the stage's options and add it; its first output."""
        from nlft.cli.command_line import command_line

        verb, *operands = stage.words
        output = stage.outputs[0]
        settings = {**options, "output": str(output)}
        words = command_line(verb, operands, settings, section=section or stage.name, file=self.file)
        self.stages.append(replace(stage, words=tuple(words)))
        return output
