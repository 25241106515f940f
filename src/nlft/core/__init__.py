"""The paper: salient tokens, phrases, scales and loss, as pure functions of tensors.

    settings.py   every constant            saliency.py   section 3.3, eqs. 1, 2
    cluster.py    phrases, section 3.3      scales.py     eqs. 3, 4
    allocation.py the three together        loss.py       eq. 5

`SaliencySettings` loads no torch; the rest does, when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
