"""Grades: does a response's final answer equal the reference's, and how can one tell?"""

from nlft.grade.graders import Grader, get_grader, grade_response, grader_names
from nlft.grade.report import GradeReport, grade_file
from nlft.grade.step import grade, grade_one

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
