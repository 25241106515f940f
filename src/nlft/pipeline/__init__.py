"""Recipes and experiments: steps with fingerprints, the cells of a comparison, results, tables and figures."""
