"""Recipes and experiments: steps with fingerprints, cells of a comparison, results, tables, figures."""
