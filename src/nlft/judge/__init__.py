"""Judgments: words that say what is wrong with an incorrect response.

    judgments = judge(graded, RuleJudge())

They are the third input of the method (§1): on the judge path the model is shown them, and the tokens
that they make likelier are the errors.
"""

from nlft.judge.factory import JudgeSettings, make_judge
from nlft.judge.judges import Judge, ModelJudge, ReplayJudge, RuleJudge
from nlft.judge.quality import QualityReport, quality_report
from nlft.judge.rule import rule_judgment
from nlft.judge.step import Judgments, RejectedRow, judge, judge_file

__all__ = [
    "Judge",
    "JudgeSettings",
    "Judgments",
    "ModelJudge",
    "QualityReport",
    "RejectedRow",
    "ReplayJudge",
    "RuleJudge",
    "judge",
    "judge_file",
    "make_judge",
    "quality_report",
    "rule_judgment",
]
