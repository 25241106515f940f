"""The demo: a shipped recipe with recorded teacher responses, run live from grading to evaluation."""

from nlft.demo.demo import run_demo, show_demo

__all__ = ["run_demo", "show_demo"]
