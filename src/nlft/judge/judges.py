"""Judges: by rule, from a recording, or by a model; each says in words what is wrong with a response."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from nlft.answer.types import Answerer, OnReply, Reply, Request, make_request
from nlft.judge.rule import rule_judgment
from nlft.judge.task_rules import Evidence, code_judgment, fitting_rules, json_judgment, label_judgment
from nlft.prompts import Context, PromptSet, says_correct
from nlft.records import Graded, Judged, read_records
from nlft.tasks import Rules


class Judge(Protocol):
    """Whoever judges. Implement these five to add one."""

    name: str
    """Who judged, for the records."""
    cacheable: bool
    """Whether judgments are worth a journal (a rule's are not)."""

    def request(self, row: Graded) -> Request:
        """What this judge is asked about the row; its key covers everything that decides the words."""
        ...

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Call `on_reply` for each request, in any order; see `nlft.answer.Answerer`."""
        ...

    def contradicts(self, row: Graded, judgment: str) -> bool:
        """Whether the words call a response correct that the grade calls wrong."""
        ...


class RuleJudge:
    """Compares the response with the standard answer, by the rules of its task; needs no model.

    Args:
        rules: "math", "label", "json" or "code"; "auto" takes those of the grader that gave each row's verdict.
        rows: All rows, right ones too: what the label rules learn from which words point to which label.
    """

    name = "rule"
    cacheable = False

    def __init__(self, rules: Rules | Literal["auto"] = "auto", rows: Iterable[Graded] = ()) -> None:
        self.rules = rules
        self._rows = tuple(rows)

    @cached_property
    def _evidence(self) -> Evidence:
        """Read from all rows, and only where rules for labels ask for it: other references need not be labels."""
        return Evidence(self._rows)

    def among(self, rows: Iterable[Graded]) -> RuleJudge:
        """The judge that has read these rows."""
        return RuleJudge(self.rules, rows)

    def request(self, row: Graded) -> Request:
        """The row itself is all it needs.

        Raises:
            DataError: when no rules fit the grader that gave its verdict.
        """
        return _request_for(row, {"judge": "rule", "rules": fitting_rules(row, self.rules)})

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Write each judgment."""
        for request in requests:
            assert isinstance(request.row, Graded)  # noqa: S101 - made by `request`
            on_reply(request, Reply(self._words(request.row)))

    def contradicts(self, row: Graded, judgment: str) -> bool:
        """Never: it is told what is wrong."""
        return False

    def _words(self, row: Graded) -> str:
        rules = fitting_rules(row, self.rules)
        if rules == "label":
            return label_judgment(row, self._evidence)
        return {"math": rule_judgment, "json": json_judgment, "code": code_judgment}[rules](row)


class ReplayJudge:
    """Replies with the judgments in a JSONL file, found by question and response.

    Raises:
        DataError: when the file is missing or holds no judged answers.
    """

    cacheable = False

    def __init__(self, path: str | Path, *, correct_mark: str = "the response is correct") -> None:
        self.path = Path(path)
        self.name = f"replay:{self.path.name}"
        self.correct_mark = correct_mark
        self._sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path.is_file() else ""
        self._judgments = {
            (row.question, row.response): row.judgment
            for row in read_records(self.path, _Recorded, unique_ids=False)
            if row.judgment is not None
        }

    def request(self, row: Graded) -> Request:
        """Question and response, and the file's content."""
        return _request_for(row, {"judge": "replay", "sha256": self._sha256})

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Look each one up; a response that was not judged in the recording is a failure."""
        for request in requests:
            response = getattr(request.row, "response", "")
            judgment = self._judgments.get((request.row.question, response))
            reason = f"{self.path.name} holds no judgment of this response"
            on_reply(request, Reply(judgment) if judgment is not None else Reply(failure=reason))

    def contradicts(self, row: Graded, judgment: str) -> bool:
        """A recording of a judge under A.1 may hold such words."""
        return says_correct(judgment, self.correct_mark)


class ModelJudge:
    """Asks a model: a server, a local model, or the student itself, shown the standard answer.

    Args:
        answerer: Who is asked.
        prompts: Its `judging_wrong`, or `judging`, is the instruction.
        prompt: "known-wrong" tells the judge that the response is wrong and asks where; "a1" is the paper's
            A.1, which asks it to decide first, and to say so where it finds the response correct.
        name: What the records call it; the model's name where None.
    """

    cacheable = True

    def __init__(
        self,
        answerer: Answerer,
        prompts: PromptSet,
        *,
        prompt: Literal["known-wrong", "a1"] = "known-wrong",
        name: str | None = None,
    ) -> None:
        self.answerer, self.prompts, self.prompt = answerer, prompts, prompt
        self.name = name if name is not None else answerer.name
        self._settings = answerer.settings()

    def request(self, row: Graded) -> Request:
        """Problem, response and standard answer under the judging instruction."""
        known_wrong = self.prompt == "known-wrong"
        context = Context.of(row)
        messages = self.prompts.ask_judgment(
            row.question, row.response, row.reference, context, known_wrong=known_wrong
        )
        return make_request(self._settings, row, messages)

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Pass on to the model."""
        self.answerer.reply(requests, on_reply)

    def contradicts(self, row: Graded, judgment: str) -> bool:
        """Under either prompt a model may call a wrong response correct."""
        return says_correct(judgment, self.prompts.correct_mark)


class _Recorded(Judged):
    """A row of a recording, whose verdict is not needed."""

    verdict: Any = None


def _request_for(row: Graded, settings: dict[str, Any]) -> Request:
    content = {**settings, "question": row.question, "reference": row.reference, "response": row.response}
    return make_request(content | {"verdict": row.verdict.model_dump(mode="json")}, row, ())
