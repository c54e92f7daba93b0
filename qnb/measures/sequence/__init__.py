"""Models of sequences: error by token position and by attention head, and how far predictions move."""
