"""What a method tells: its progress while it works, its result afterwards."""
