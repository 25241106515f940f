"""ReFT (arXiv 2401.08967): SFT as a warm-up, then PPO on the same questions; the RL baseline.

Needs TRL, the extra `reft`; nothing loads it until one of the names below is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
