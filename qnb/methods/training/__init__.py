"""Quantization-aware training: what moves, towards what, and how it goes on."""
