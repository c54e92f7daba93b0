"""The state of a workflow, its next steps, and the diagnosis of a run's loss."""
