"""The reference policy: a frozen copy of the policy after the warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class ReferencePolicy:
    """A frozen copy of the weights that will be trained, swapped in for a pass.

    The KL penalty holds the policy near the *warm-up* policy. Switching the adapter off would give the
    base model instead, and merging it before PPO would leave a result that no longer loads as one
    adapter of the original model. With an adapter the copy is small; without one it is a second model,
    as it would be in any other approach.

    Args:
        model: The model after the warm-up; its trainable parameters are copied.
        without: The name of a submodule that does not belong to the policy.
    """

    def __init__(self, model: nn.Module, *, without: str) -> None:
        self.weights = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and not name.startswith(without + ".")
        }

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Within this context the model is the reference; passes must not carry gradient."""
        parameters = {name: parameter for name, parameter in model.named_parameters() if name in self.weights}
        trained = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self.weights[name]
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = trained[name]
