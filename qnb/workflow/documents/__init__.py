"""What results say, as documents: object -> `qnb.document.Document`, pure functions."""
