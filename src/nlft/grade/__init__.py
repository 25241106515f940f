"""Grades: does a response's final answer equal the reference's, and how can one tell?"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
