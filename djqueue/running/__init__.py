"""One attempt at a job: from its payload to its outcome."""
