"""Out-of-fold answers: a student's honest errors on its own training problems (cross-fitting).

The answers of a student that has seen a problem are memories. So each fold of the problems is answered by a model that
was trained on the other folds.

    who = out_of_fold(settings, problems, Path("folds"))
    answers = answer(problems, who, prompts=load_prompts("short"), samples=3)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
