"""Answers to problems: by a teacher, by the student itself, by a server, or from a recording.

    answers = answer(problems, answerer, prompts=load_prompts("paper"))

Every reply is in a journal before the next request is sent, so that a run may be killed at any time and nothing is
asked, or paid for, twice.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
