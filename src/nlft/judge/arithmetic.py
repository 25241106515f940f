"""The former place of `nlft.steps.arithmetic`."""

from nlft.steps.arithmetic import equations, numbers

__all__ = ["equations", "numbers"]
