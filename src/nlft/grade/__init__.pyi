from .graders import Grader, get_grader, grade_response, grader_names
from .step import GradeReport, grade, grade_file, grade_one

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
