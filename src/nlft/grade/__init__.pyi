from .graders import Grader, get_grader, grade_response, grader_names
from .report import GradeReport, grade_file
from .step import grade, grade_one

__all__ = [
    "GradeReport",
    "Grader",
    "get_grader",
    "grade",
    "grade_file",
    "grade_one",
    "grade_response",
    "grader_names",
]
