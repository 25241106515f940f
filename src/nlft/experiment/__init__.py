"""Recipes and experiments: the pipeline as commands, cells of a comparison, results, tables, figures."""

from nlft.experiment.recipe import Recipe, load_recipe, plan
from nlft.experiment.stages import Stage

__all__ = ["Recipe", "Stage", "load_recipe", "plan"]
