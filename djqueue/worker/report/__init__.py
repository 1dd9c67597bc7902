"""What a worker prints. Not here: when a line is due, which the worker knows."""
