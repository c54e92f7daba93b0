"""Quantization-aware training: what is trained, the objective, the loop and its checkpoints."""
