from .code import allow_code, code_allowed, needs_permission
from .config import GradeSettings
from .graders import Grader, get_grader, grade_response, grader_names, strict_form
from .step import GradeReport, grade, grade_one

__all__ = [
    "GradeReport",
    "GradeSettings",
    "Grader",
    "allow_code",
    "code_allowed",
    "get_grader",
    "grade",
    "grade_one",
    "grade_response",
    "grader_names",
    "needs_permission",
    "strict_form",
]
