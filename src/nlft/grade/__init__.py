"""Grades: does a response's final answer equal the reference's, and how can one tell?"""

from nlft.grade.graders import Grader, get_grader, grade_response, grader_names
from nlft.grade.stage import grade, grade_one

__all__ = ["Grader", "get_grader", "grade", "grade_one", "grade_response", "grader_names"]
