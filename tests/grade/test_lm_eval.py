"""The task that ships for lm-evaluation-harness, against lm-eval itself: its prompts, and what its filters call right.

`responses.jsonl` holds 272 responses to GSM8K test problems by SmolLM2-135M-Instruct (prompt set `short`, temperature
0.6, at most 128 new tokens, seed 7), with the problems' final answers (Cobbe et al. 2021, MIT licence).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nlft.grade.numbers import canonical, read_plain
from nlft.grade.numeric import flexible, strict
from nlft.prompts import load_prompts
from nlft.records import Verdict
from nlft.tasks import TASKS

RECIPES = Path(__file__).parents[2] / "recipes"
TASK = yaml.safe_load((RECIPES / "lm-eval" / "nlft_gsm8k.yaml").read_text(encoding="utf-8"))
METRIC = {name: TASK["metric_list"][0][name] for name in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}
OURS: dict[str, Callable[[str, str], Verdict]] = {"strict": strict, "flexible": flexible}


def rows() -> list[tuple[str, str, str]]:
    """1,000 responses with id and reference: the 567 there are, and the first 433 of them again, cut off at 7 tenths."""
    found = []
    for file in (
        RECIPES / "gsm8k-100.jsonl",
        RECIPES / "gsm8k-strong.jsonl",
        Path(__file__).parent / "responses.jsonl",
    ):
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            found.append((f"{file.stem} {row['id']}", row["reference"], row["response"]))
    cut = [(f"{name}-cut", reference, response[: len(response) * 7 // 10]) for name, reference, response in found]
    return [*found, *cut][:1000]


def extracted(kind: str, responses: list[str]) -> list[str]:
    """What lm-eval's filter of that name takes out of each response."""
    from lm_eval.filters import build_filter_ensemble

    class Asked:
        def __init__(self, response: str) -> None:
            self.resps, self.doc = [response], {}
            self.filtered_resps: dict[str, Any] = {}

    steps = next(each["filter"] for each in TASK["filter_list"] if each["name"] == kind)
    components = [(step["function"], {k: v for k, v in step.items() if k != "function"} or None) for step in steps]
    asked = [Asked(response) for response in responses]
    build_filter_ensemble(kind, components).apply(asked)
    return [each.filtered_resps[kind] for each in asked]


def called_right(found: str, reference: str) -> bool:
    from lm_eval.api.metrics import exact_match_fn

    return bool(exact_match_fn(predictions=[found], references=[reference], **METRIC)["exact_match"])


@pytest.mark.parametrize("kind", OURS)
def test_the_verdicts_on_1000_responses_are_those_of_lm_eval(kind: str) -> None:
    given = rows()
    found = extracted(kind, [response for *_, response in given])
    ours = [OURS[kind](response, reference) for _, reference, response in given]
    assert (len(given), sum(name.endswith("-cut") for name, *_ in given)) == (1000, 433)
    theirs = [called_right(text, reference) for text, (_, reference, _) in zip(found, given, strict=True)]
    assert [verdict.correct for verdict in ours] == theirs
    assert 200 < sum(theirs) < 300
    # The number that was read is the same, too, but for fractions: lm-eval reads their denominator.
    apart = {}
    for (name, _, response), text, verdict in zip(given, found, ours, strict=True):
        plain = text
        for pattern in METRIC["regexes_to_ignore"]:
            plain = re.sub(pattern, "", plain)
        value = read_plain(plain)
        if (canonical(value) if value is not None else None) != verdict.value:
            apart[name] = (text, verdict.extracted)
            assert verdict.extracted is not None
            assert verdict.extracted in response
    assert {
        name: (text, piece) for name, (text, piece) in apart.items() if not (piece or "").endswith(f"/{text}")
    } == {}
    assert len(apart) == (6 if kind == "flexible" else 0)


# Kind, response, reference, and whether lm-eval and whether nlft call it right: docs/from-elsewhere.md explains each.
DIFFERENCES = [
    ("strict", "#### 18.00", "#### 18", False, True),
    ("strict", "#### 018", "#### 18", False, True),
    ("flexible", "It costs $18.00", "#### 18", False, True),
    ("flexible", "It is 18 ...", "#### 18", False, True),
    ("flexible", "So 18 in all. $$", "#### 18", False, True),
    ("flexible", "That leaves 36-18", "#### 18", False, True),
    ("flexible", "It is 3/4", "#### 4", True, False),
    ("flexible", "It is 3/4", "#### 0.75", False, True),
    ("flexible", "It is 2½", "#### 2.5", False, True),
    ("flexible", "About 1.8 x 10^3", "#### 1800", False, True),
    ("flexible", "Then 1\u202f800 in all", "#### 1800", False, True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "response", "reference", "theirs", "ours"), DIFFERENCES)
def test_where_the_two_differ(kind: str, response: str, reference: str, theirs: bool, ours: bool) -> None:
    assert called_right(extracted(kind, [response])[0], reference) is theirs
    assert OURS[kind](response, reference).correct is ours


@pytest.mark.parametrize(
    "response", ["####18", "####  18", "#### $18", "#### 18 #### 19", "#### 19 #### 18", "#### 18."]
)
def test_what_counts_as_the_strict_form_is_the_same(response: str) -> None:
    theirs = called_right(extracted("strict", [response])[0], "#### 18")
    assert strict(response, "#### 18").correct is theirs
    assert theirs is (response in ("#### 18 #### 19", "#### 18."))


def test_the_model_is_asked_the_same() -> None:
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    doc = {"question": "How many {legs} has a dog?", "answer": "#### 4"}
    own = {**TASK, "dataset_path": None, "custom_dataset": lambda **kwargs: {"test": Dataset.from_list([doc])}}
    task = ConfigurableTask(config=own)

    def chat(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        assert add_generation_prompt
        return json.dumps(messages)

    asked = json.loads(task.fewshot_context(doc, 0, apply_chat_template=True, chat_template=chat))
    prompts = load_prompts(TASKS["math"].prompts)
    assert asked == prompts.base(doc["question"])
    assert TASK["generation_kwargs"]["until"] == []
