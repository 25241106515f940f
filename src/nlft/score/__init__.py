"""The score stage: the three paths' log-probabilities of each response, and what they make of every token."""
