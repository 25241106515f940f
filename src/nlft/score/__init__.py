"""The score stage: the three paths' log-probabilities of each response, and the role and scale they give each token.

`schema.py` is the stored form and its recomputation, `sketch.py` what it keeps of the hidden states,
`compute.py` runs the language model, `step.py` is the stage from file to file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
