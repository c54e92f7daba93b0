"""Recovering accuracy: recovery methods, mixed precision, sensitivities, what-if."""
