"""Answers to problems: by a teacher, by the student itself, by a server, or from a recording.

    answers = answer(problems, answerer, prompts=load_prompts("paper"))

Every reply is in a journal before the next request is sent, so that a run may be killed at any time and
nothing is asked, or paid for, twice.
"""

from nlft.answer.factory import AnswererSettings, make_answerer
from nlft.answer.journal import Journal
from nlft.answer.limits import Limits, Prices
from nlft.answer.local import LocalAnswerer
from nlft.answer.replay import ReplayAnswerer
from nlft.answer.selection import deduplicate, limit_incorrect, mix
from nlft.answer.step import Answers, FailedRow, answer, answer_file
from nlft.answer.types import Answerer, Reply, Request, make_request

__all__ = [
    "Answerer",
    "AnswererSettings",
    "Answers",
    "FailedRow",
    "Journal",
    "Limits",
    "LocalAnswerer",
    "Prices",
    "ReplayAnswerer",
    "Reply",
    "Request",
    "answer",
    "answer_file",
    "deduplicate",
    "limit_incorrect",
    "make_answerer",
    "make_request",
    "mix",
]
