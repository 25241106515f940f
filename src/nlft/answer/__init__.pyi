from .config import AnswererSettings, AnswerSettings
from .factory import make_answerer
from .journal import Journal
from .local import LocalAnswerer
from .replay import ReplayAnswerer
from .selection import deduplicate, limit_incorrect, mix
from .server import Endpoint
from .step import Answers, FailedRow, answer, answer_file
from .types import Answerer, Reply, Request, make_request

__all__ = [
    "AnswerSettings",
    "Answerer",
    "AnswererSettings",
    "Answers",
    "Endpoint",
    "FailedRow",
    "Journal",
    "LocalAnswerer",
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
