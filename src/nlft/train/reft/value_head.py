"""The value head: a linear layer on the policy's last hidden state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

from nlft import processes
from nlft.errors import DataError

FILE = "value_head.safetensors"


class ValueHead(nn.Module):
    """V(s_t) = w · h_t + b, where h_t is the hidden state from which token t is chosen.

    It starts at 0, so that the first advantages are the rewards themselves, not noise. Its weights are
    float32 for any model, because steps of 3e-7 would be lost in half precision.

    Args:
        width: Width of the hidden states.

    Source: arXiv 2401.08967, section 3.2 (after Ziegler et al., arXiv 1909.08593).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden_states: Float[Tensor, "*tokens d"]) -> Float[Tensor, "*tokens"]:
        """The value of each state, with gradient into the states as well."""
        values: Tensor = self.linear(hidden_states.float())
        return values.squeeze(-1)

    def save(self, folder: str | Path) -> None:
        """Write `value_head.safetensors` into the folder; all processes take part, and the leading one writes."""
        whole: Any = get_model_state_dict(self, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if processes.leads():
            save_file(whole, Path(folder) / FILE)

    def load(self, folder: str | Path) -> None:
        """Load the weights written by `save`, also into shares of them.

        Raises:
            DataError: if the folder holds no value head.
        """
        path = Path(folder) / FILE
        if not path.exists():
            raise DataError("this checkpoint holds no value head", file=path, remedy="resume only a ReFT run as one")
        whole: Any = load_file(path)
        set_model_state_dict(self, whole, options=StateDictOptions(full_state_dict=True))
