"""The steps of a solution: what its text calculates, and where a response first goes wrong."""
