"""What `choose_ranges` is made of: candidates from one calibration pass, their predicted effect, the search."""
