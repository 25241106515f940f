"""Evaluation: accuracy with intervals, paired comparison, and tables and figures from results files."""

from nlft.evaluate.compare import Comparison, compare, compare_many, compare_solved, correct
from nlft.evaluate.evaluation import Accuracy, Evaluated, Evaluation, read_evaluation, write_evaluation
from nlft.evaluate.statistics import (
    Interval,
    best_shares,
    bootstrap_interval,
    effective_n,
    exact_mcnemar,
    holm,
    wilson_interval,
)
from nlft.evaluate.step import evaluate

__all__ = [
    "Accuracy",
    "Comparison",
    "Evaluated",
    "Evaluation",
    "Interval",
    "best_shares",
    "bootstrap_interval",
    "compare",
    "compare_many",
    "compare_solved",
    "correct",
    "effective_n",
    "evaluate",
    "exact_mcnemar",
    "holm",
    "read_evaluation",
    "wilson_interval",
    "write_evaluation",
]
