"""The gate: what the untouched student does with a domain, alone and with the standard answer shown.

    OMP_NUM_THREADS=1 python recipes/small-domains/gate.py MODEL FOLDER [DOMAIN ...]

Writes FOLDER/DOMAIN-CONDITION.jsonl (every response with its verdict), and prints one line per domain. Conditions:
`base` (a one-shot example of the format, from the domain), and with it `worked` and `final` (the standard answer in
that form shown); `generic` (an example
from no domain) runs only if named in the environment variable CONDITIONS. Finished files are not run again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from draws import DEV_SEED, DOMAINS, EXAMPLE_SEED, draw

from nlft.grade.task_scorer import grade_by_task
from nlft.lm import SamplingSettings, load_model
from nlft.lm.encode import encode_prompt
from nlft.lm.generate import generate
from nlft.prompts import Message, load_prompts
from nlft.records import Attempt, Problem

GENERIC = Problem(
    id="generic",
    question="Tom has 4 bags with 6 apples each and eats 5 apples. How many are left?",
    reference="4 * 6 = 24\n24 - 5 = 19\n#### 19",
)
CONDITIONS = ("base", "worked", "final")  # and "generic"


def messages(name: str | None, question: str, reference: str | None) -> list[Message]:
    """The conversation: the example as an earlier turn, then the question, with the standard answer if it is shown.

    An example inside the instruction is not enough: in tests, half of the responses were then
    cut off, and it left the format even with the right numbers.
    """
    example = draw(name, 1, EXAMPLE_SEED)[0] if name is not None else GENERIC
    words = load_prompts("short")
    asked = words.base(question) if reference is None else words.standard(question, reference)
    turns: list[Message] = [
        {"role": "user", "content": example.question},
        {"role": "assistant", "content": example.reference},
    ]
    return [asked[0], *turns, *asked[1:]]


def main() -> None:
    """Run what is missing, and print the counts."""
    model, folder, *names = sys.argv[1:]
    lm = load_model(model, dtype="float32")
    for name in names or list(DOMAINS):
        line = [f"{name:<12}"]
        for condition in os.environ.get("CONDITIONS", ",".join(CONDITIONS)).split(","):
            file = Path(folder) / f"{name}-{condition}.jsonl"
            if not file.is_file():
                run(lm, name, condition, file)
            rows = [json.loads(text) for text in file.read_text("utf-8").splitlines()]
            counts = {key: sum(row[key] for row in rows) for key in ("flexible", "strict", "cut")}
            line.append(f"{condition} {counts['flexible']}/{counts['strict']} cut {counts['cut']}")
        print(" | ".join(line), flush=True)


def run(lm, name: str, condition: str, file: Path) -> None:
    """Let the student answer 50 dev problems under one condition."""
    problems = draw(name, 50, DEV_SEED, "final" if condition == "final" else "worked")
    example = None if condition == "generic" else name
    shown = condition in ("worked", "final")
    ids = [encode_prompt(lm.tokenizer, messages(example, p.question, p.reference if shown else None)) for p in problems]
    settings = SamplingSettings(temperature=0.0, max_new_tokens=200, batch_size=50)
    rows = {}
    for completion in generate(lm, ids, settings):
        problem = problems[completion.index]
        record = Attempt.model_validate({**dict(problem), "response": completion.text})
        verdict = {key: grade_by_task(record, strict=key == "strict").correct for key in ("flexible", "strict")}
        rows[completion.index] = {
            "id": problem.id, "question": problem.question, "reference": problem.reference,
            "response": completion.text, "cut": completion.finish_reason == "length", **verdict,
        }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(rows[i]) + "\n" for i in sorted(rows)), "utf-8")


if __name__ == "__main__":
    main()
