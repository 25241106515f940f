from .load import load_problems
from .sources import gsm8k, gsm_symbolic, gsm_symbolic_kinds
from .subset import hold_out, subset_rows

__all__ = [
    "gsm8k",
    "gsm_symbolic",
    "gsm_symbolic_kinds",
    "hold_out",
    "load_problems",
    "subset_rows",
]
