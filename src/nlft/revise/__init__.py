"""The student answers again, shown what was hidden from it before; the best of its answers replace wrong responses.

revised = revise_rows(judged, answerer, prompts=load_prompts("short"), likelihood=BaseLikelihood(answerer, prompts))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
