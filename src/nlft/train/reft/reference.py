"""The reference policy: what the warm-up left, frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class ReferencePolicy:
    """A frozen copy of the weights that will be trained, to be put in their place for a pass.

    The KL penalty holds the policy near the *warm-up* policy. Switching the adapter off would give the
    untouched model instead, and merging it before PPO would leave a result that no longer loads as one
    adapter of the original model. With an adapter the copy is small; without one it is a second model,
    as it would be in any other form.

    Args:
        model: As the warm-up left it; its trainable parameters are copied.
        without: The name of a submodule that is no part of the policy.
    """

    def __init__(self, model: nn.Module, *, without: str) -> None:
        self.weights = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and not name.startswith(without + ".")
        }

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model is the reference; passes there must not carry gradient."""
        parameters = {name: parameter for name, parameter in model.named_parameters() if name in self.weights}
        trained = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self.weights[name]
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = trained[name]
