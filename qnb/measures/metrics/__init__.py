"""The metric: what the evaluation function returns, its interval, and how much worse one score is than another."""
