"""What travels with jobs."""
