from .config import JudgeSettings
from .factory import make_judge
from .judges import Judge, ModelJudge, ReplayJudge, RuleJudge
from .quality import QualityReport, quality_report
from .rule import rule_judgment
from .step import Judgments, RejectedRow, judge, judge_file

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
