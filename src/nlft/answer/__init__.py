"""Answers to problems: by a teacher, by the student itself, by a server, or from a recording.

    answers = answer(problems, answerer, prompts=load_prompts("paper"))

Every reply is in a journal before the next request is sent, so that a run may be killed at any time and
nothing is asked, or paid for, twice.
"""

from nlft.answer.exchange import Answerer, Reply, Request, make_request
from nlft.answer.journal import Journal, journal_path, sole_writer
from nlft.answer.limits import Limits, Prices
from nlft.answer.local import LocalAnswerer
from nlft.answer.replay import ReplayAnswerer
from nlft.answer.stage import Answers, FailedRow, answer, answer_file

__all__ = [
    "Answerer",
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
    "journal_path",
    "make_request",
    "sole_writer",
]
