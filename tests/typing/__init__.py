"""What type checkers are told; nothing here is run."""
