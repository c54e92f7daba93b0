"""What a method reports: its progress while it works, its result afterwards."""
