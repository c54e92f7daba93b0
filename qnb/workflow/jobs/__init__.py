"""Steps in threads of their own, and their progress."""
