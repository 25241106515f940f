"""Which method suits your rows: candidates compared by cross-validation, and what the intervals allow to say."""
