"""What a training run leaves behind: a folder with all it takes to use the trained weights as they were trained."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
