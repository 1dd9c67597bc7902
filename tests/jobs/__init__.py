"""Job classes and functions."""
