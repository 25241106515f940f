"""Graders by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial

from nlft.config import did_you_mean
from nlft.errors import ConfigError
from nlft.grade.code import grade_code
from nlft.grade.fields import json_alone, json_fields, read_schema
from nlft.grade.label import Labels, label, label_alone, read_labels
from nlft.grade.numeric import authors, flexible, number, strict
from nlft.grade.task_scorer import grade_by_task
from nlft.grade.textual import choice, exact
from nlft.records import Attempt, Verdict

# A grader returns its verdict on a record's response. It raises DataError when the record's reference or another
# of its fields, not the response, cannot be read.
Grader = Callable[[Attempt], Verdict]

# These two are recorded beside every grader for answers that end in a number, so that results can be compared with
# published ones.
BOTH = ("gsm8k-strict", "gsm8k-flexible")
# The graders that take a file, as in `label:labels.yaml`.
FILES = ("code:", "label:", "label-strict:", "json:", "json-strict:", "rubric:")
STRICT = {
    "reasoning-gym": "reasoning-gym-strict",
    "label": "label-strict",
    "json": "json-strict",
    "code": "code-strict",
}


def _by_text(compare: Callable[[str, str], Verdict]) -> Grader:
    return lambda record: compare(record.response, record.reference)


_IN_PROCESS: dict[str, Grader] = {
    "gsm8k-strict": _by_text(strict),
    "gsm8k-flexible": _by_text(flexible),
    "number": _by_text(number),
    "authors": _by_text(authors),
    "choice": _by_text(choice),
    "exact": _by_text(exact),
    "reasoning-gym": grade_by_task,
    "reasoning-gym-strict": partial(grade_by_task, strict=True),
    "code": grade_code,
    "code-strict": partial(grade_code, strict=True),
}


def grader_names() -> list[str]:
    """Every name that `get_grader` takes; `code:FILE` stands for any file."""
    return [*_IN_PROCESS, "math", "label", "json", "code:FILE", "rubric:FILE"]


def get_grader(name: str, *, references: Iterable[str] = (), threshold: float | None = None) -> Grader:
    """The grader of that name.

    - `gsm8k-strict`, `gsm8k-flexible`, `number`, `authors`: see `nlft.grade.numeric`
    - `choice`, `exact`: see `nlft.grade.textual`
    - `reasoning-gym`, `reasoning-gym-strict`: the task's own scorer; see `nlft.grade.task_scorer`
    - `label`, `label:FILE`, `json`, `json:FILE`, and their strict forms `label-strict`, `json-strict`: see
      `nlft.grade.label` and `nlft.grade.fields`
    - `code`, `code-strict`: the tests of a Python function, where running code is allowed; see `nlft.grade.code`
    - `rubric:FILE`: a model, by the criteria in a file; see `nlft.grade.rubric`
    - `math`: math-verify's symbolic comparison, in a worker process with a deadline
    - `code:FILE`: the function `grade` of a user's Python file, in a worker process; see `nlft.grade.external`

    Args:
        name: The name, with its file where it takes one.
        references: All references of the data, from which `label` reads the labels; without them it knows only the
            label of each record's own reference.
        threshold: The score from which on a response is correct, for graders that give partial credit.

    Raises:
        ConfigError: for a name that does not exist, a file that cannot be read, or a grader that cannot start.
        DataError: for references that cannot be told apart as labels.
    """
    grader = _named(name)
    if reads_labels(name):
        labels = Labels.of(references)
        compare = label if name == "label" else label_alone
        if labels.forms:
            grader = _by_text(partial(compare, labels=labels))
    return grader if threshold is None else _from(threshold, grader)


def reads_labels(name: str) -> bool:
    """Whether the grader reads the labels from all references of the data."""
    return name in ("label", "label-strict")


def gives_credit(name: str) -> bool:
    """Whether the grader may give partial credit."""
    return name.startswith("code:") or beside(name) == ()


def _from(threshold: float, grader: Grader) -> Grader:
    def decide(record: Attempt) -> Verdict:
        verdict = grader(record)
        if verdict.score is None or verdict.correct == (verdict.score >= threshold):
            return verdict
        correct = verdict.score >= threshold
        told = f"{verdict.reason}; scores {verdict.score:.3g}, and {threshold:.3g} is enough"
        return verdict.model_copy(update={"correct": correct, "reason": told})

    return decide


@cache
def _named(name: str) -> Grader:
    if name in _IN_PROCESS:
        return _IN_PROCESS[name]
    kind, _, file = name.partition(":")
    if kind in ("label", "label-strict"):
        compare = label if kind == "label" else label_alone
        if file:
            return _by_text(partial(compare, labels=read_labels(file)))
        return lambda record: compare(record.response, record.reference, Labels.of([record.reference]))
    if kind == "rubric":
        if not file:
            remedy = "write --grader rubric:FILE.yaml, a file with `criteria` and a `model`"
            raise ConfigError("a rubric needs a file of criteria", remedy=remedy)
        from nlft.grade.rubric import RubricGrader

        return RubricGrader(file)
    if kind in ("json", "json-strict"):
        fields = json_fields if kind == "json" else json_alone
        return _by_text(partial(fields, schema=read_schema(file) if file else None))
    if name == "math" or name.startswith("code:"):
        from nlft.grade.external import ExternalGrader

        return ExternalGrader(name)
    raise ConfigError(f'there is no grader "{name}"', remedy=did_you_mean(name, grader_names()))


def strict_form(name: str) -> str:
    """The grader that counts as strict beside the named one: the same, unless that has a strict form.

    >>> strict_form("reasoning-gym"), strict_form("exact"), strict_form("label:labels.yaml")
    ('reasoning-gym-strict', 'exact', 'label-strict:labels.yaml')
    """
    kind, colon, file = name.partition(":")
    return name if name.startswith("code:") else f"{STRICT.get(kind, kind)}{colon}{file}"


def beside(name: str) -> tuple[str, ...]:
    """The graders that are recorded beside the named one.

    >>> beside("exact"), beside("json")
    (('gsm8k-strict', 'gsm8k-flexible'), ())
    """
    own = ("rubric", "label", "label-strict", "json", "json-strict", "code", "code-strict")
    return () if name.partition(":")[0] in own and not name.startswith("code:") else BOTH


def grade_response(response: str, reference: str, grader: str = "gsm8k-flexible", *, question: str = "") -> Verdict:
    """Grade one response with the named grader, from these texts alone.

    >>> grade_response("He pays 3 * 6 = 18 dollars.", "#### 18").reason
    "equals the reference's 18"

    Raises:
        ConfigError: for a grader that does not exist.
        DataError: when no answer can be read from the reference, or the grader needs other fields of a record.
    """
    record = Attempt.model_construct(id="", question=question, reference=reference, response=response)
    return get_grader(grader)(record)
