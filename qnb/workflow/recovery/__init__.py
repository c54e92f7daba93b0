"""Getting accuracy back: recovery methods, mixed precision, sensitivities, what-if."""
