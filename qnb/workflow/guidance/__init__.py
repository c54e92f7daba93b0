"""Where a workflow stands, what comes next, and why a run loses accuracy."""
