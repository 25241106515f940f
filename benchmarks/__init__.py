"""Speed and memory beside what a user would pick instead; `make bench` or `nlft bench` runs all of it."""
