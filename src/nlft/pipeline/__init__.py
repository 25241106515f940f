"""Recipes and experiments: the pipeline as commands, cells of a comparison, results, tables, figures."""

from nlft.pipeline.graph import Stage
from nlft.pipeline.recipe import Recipe, load_recipe, plan

__all__ = ["Recipe", "Stage", "load_recipe", "plan"]
