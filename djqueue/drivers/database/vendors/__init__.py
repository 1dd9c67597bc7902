"""The SQL of each vendor, and what only one of them has."""
