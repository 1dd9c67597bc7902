"""What a worker prints."""
