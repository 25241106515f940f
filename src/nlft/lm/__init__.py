"""The only place that runs a language model: load, encode, score, sample.

The names below are loaded when first used; `nlft.lm.config` loads no torch. `generate` is a separate module.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
