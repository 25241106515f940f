"""The former place of `nlft.steps.step_weights`."""

from nlft.steps.step_weights import with_step_weights

__all__ = ["with_step_weights"]
