"""Files: JSONL read with line numbers, output written atomically, append-only journals, and the lock on an output."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
