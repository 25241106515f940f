"""A recipe: one section per stage, its keys the options of the stage's command."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from nlft.config import Config, parse_config, read_yaml
from nlft.errors import ConfigError
from nlft.experiment.stages import Stage

__all__ = ["Recipe", "load_recipe", "plan"]

Section = dict[str, str | int | float | bool | list[str | int | float] | None]


class Recipe(Config):
    """All of the pipeline, from problems to the two accuracies; `nlft VERB --help` tells each section's keys."""

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
    score: Section | None = Field(default=None, description="options of `nlft score`; left out, nothing is scored")
    train: Section = Field(default_factory=dict, description="options of `nlft train`")
    test: Section | None = Field(default=None, description="the held-out problems, as in `data`")
    evaluate: Section = Field(default_factory=dict, description="options of `nlft evaluate`, before and after alike")

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return Path(self.output) if self.output is not None else Path("runs") / self.name


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe, every section against its command's options.

    Raises:
        ConfigError: naming file, line and key, with the nearest key there is.
    """
    recipe = parse_config(read_yaml(path), Recipe, file=path)
    plan(recipe, file=path)
    return recipe


def plan(recipe: Recipe, *, file: str | Path | None = None) -> list[Stage]:
    """The stages of a recipe in their order; nothing is run, and no input needs to be there yet.

    Raises:
        ConfigError: for a section that its command would refuse.
    """
    builder = _Plan(recipe, file)
    rows = builder.data("data", "problems.jsonl", recipe.data)
    if recipe.answer is not None:
        rows = builder.step("answer", rows, "answers.jsonl", recipe.answer, ("model", "prompts", "seed"))
    graded = builder.step("grade", rows, "graded.jsonl", recipe.grade)
    judged = builder.step("judge", graded, "judged.jsonl", recipe.judge, ("prompts",))
    if recipe.score is not None:
        builder.step("score", judged, "scored.jsonl", recipe.score, ("model", "prompts"))
    shared = ("model", "prompts", "seed")
    adapter = builder.step("train", judged, "adapter", recipe.train, shared)
    if recipe.test is not None:
        test = builder.data("test", "test.jsonl", recipe.test)
        builder.evaluate("before", test, None)
        builder.evaluate("after", test, adapter)
    return builder.stages


class _Plan:
    """Collects stages; each is checked by its command's own parser as it is added."""

    def __init__(self, recipe: Recipe, file: str | Path | None) -> None:
        self.recipe, self.file, self.folder = recipe, file, recipe.folder
        self.stages: list[Stage] = []

    def data(self, name: str, output: str, section: Section) -> Path:
        options = dict(section)
        source = options.pop("source", None)
        if not isinstance(source, str):
            raise ConfigError(
                f'the key "{name}.source" is missing',
                file=self.file,
                remedy="gsm8k, gsm_symbolic, or the name of a file of problems",
            )
        return self.add(name, "data", [source], (), output, options)

    def step(self, verb: str, source: Path, output: str, section: Section, shared: tuple[str, ...] = ()) -> Path:
        return self.add(verb, verb, [str(source)], (source,), output, self.shared(verb, section, shared))

    def evaluate(self, name: str, test: Path, adapter: Path | None) -> None:
        # A change of settings asks for new rows; the old ones are this run's own, so they may go.
        options: Section = {
            "overwrite": True,
            **self.shared("evaluate", self.recipe.evaluate, ("model", "prompts", "seed")),
        }
        if adapter is not None:
            options["adapter"] = str(adapter)
        inputs = (test,) if adapter is None else (test, adapter)
        self.add(name, "evaluate", [str(test)], inputs, f"{name}.json", options, section="evaluate")

    def shared(self, verb: str, section: Section, keys: tuple[str, ...]) -> Section:
        """The section with the recipe's own model, prompts and seed where it names none and the verb takes them."""
        from nlft.cli.command_line import verb_options

        known = verb_options(verb)
        return {**{key: getattr(self.recipe, key) for key in keys if key in known}, **section}

    def add(
        self,
        name: str,
        verb: str,
        operands: list[str],
        inputs: tuple[Path, ...],
        output: str,
        options: Section,
        section: str | None = None,
    ) -> Path:
        from nlft.cli.command_line import command_line

        path = self.folder / output
        words = command_line(verb, operands, {**options, "output": str(path)}, section=section or name, file=self.file)
        self.stages.append(Stage(name, tuple(words), inputs, (path,)))
        return path
