"""Weights that are rounded up or down by what it does to a layer or a block."""
