"""State of the features: the store inside the process and its snapshots."""
