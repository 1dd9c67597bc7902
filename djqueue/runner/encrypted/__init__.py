"""What others learn of encrypted jobs."""
