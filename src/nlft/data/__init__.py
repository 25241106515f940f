"""Problems to start from: GSM8K, symbolic problems made offline, and a user's own files."""

from nlft.data.gsm8k import gsm8k
from nlft.data.gsm_symbolic import gsm_symbolic, gsm_symbolic_kinds
from nlft.data.load import load_problems
from nlft.data.subset import hold_out, subset_rows

__all__ = ["gsm8k", "gsm_symbolic", "gsm_symbolic_kinds", "hold_out", "load_problems", "subset_rows"]
