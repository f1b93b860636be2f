"""Search and choice under a carbon budget: pure functions on what is known of candidates."""
