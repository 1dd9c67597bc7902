"""Workers, in real processes, on the database under test."""
