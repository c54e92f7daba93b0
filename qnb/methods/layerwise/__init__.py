"""Layers one after the other: their inputs, their weights as matrices, the walk through both graphs."""
