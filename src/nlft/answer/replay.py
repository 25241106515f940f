"""Answers from a file: recorded once, replayed at no cost, the same each time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlft.answer.types import OnReply, Reply, Request
from nlft.records import Attempt, read_records


class ReplayAnswerer:
    """Replies with the responses in a JSONL file, found by the text of the question.

    Not by id: ids change when problems are made anew, and a response to another question must never slip in. Where a
    question has several responses, sample number k gets the k-th.

    Raises:
        DataError: when the file is missing or holds no answers.
    """

    cacheable = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = f"replay:{self.path.name}"
        self._replies: dict[str, list[Reply]] = defaultdict(list)
        for row in read_records(self.path, Attempt, unique_ids=False):
            self._replies[row.question].append(Reply(row.response, row.finish_reason))

    def settings(self) -> dict[str, Any]:
        """The file's content decides."""
        return {"answerer": "replay", "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest()}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Look each one up; a question that was not recorded is a failure."""
        for request in requests:
            recorded = self._replies.get(request.row.question, [])
            if request.sample < len(recorded):
                on_reply(request, recorded[request.sample])
            else:
                number = f"no answer number {request.sample + 1}" if recorded else "no answer"
                on_reply(request, Reply(failure=f"{self.path.name} holds {number} to this question"))
