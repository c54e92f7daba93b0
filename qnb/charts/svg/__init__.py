"""Figures as SVG pictures, written by hand: the only other way needs a browser. Frozen at its size."""
