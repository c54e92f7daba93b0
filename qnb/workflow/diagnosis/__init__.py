"""Why a run loses accuracy: causes with their evidence, and what their remedies were measured to bring."""
