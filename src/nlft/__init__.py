"""Natural Language Fine-Tuning: words as the training signal (arXiv 2412.20382).

The public names stand in the stub beside this file; each is loaded when first used.
"""

import logging

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# bitsandbytes hints on each import at kernels that may be fetched, and on each pass of each 8-bit layer at its precision.
# Here, since peft imports it, and may be imported before any module of this package.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
