"""What an attempt may leave in its process, and how it is undone before the next one."""
