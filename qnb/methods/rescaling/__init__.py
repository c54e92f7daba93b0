"""Scales that move between layers: where they can, how far, and what follows from it."""
