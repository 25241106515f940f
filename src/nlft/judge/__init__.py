"""Judgments: words that say what is wrong with an incorrect response.

    judgments = judge(graded, RuleJudge())

They are the third input of the method (§1): on the judge path the model is shown them, and the tokens
that they make likelier are the errors.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
