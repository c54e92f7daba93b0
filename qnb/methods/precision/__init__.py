"""Mixes of precisions: what there is to choose from, what it costs, the Pareto front."""
