"""Search for settings: what is searched, which trials, and what they come to."""
