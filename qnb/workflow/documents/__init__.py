"""Results as documents: object -> `qnb.document.Document`, pure functions."""
