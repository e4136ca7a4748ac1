"""The run folder: layout, lock, status, records, checkpoints, live display."""
