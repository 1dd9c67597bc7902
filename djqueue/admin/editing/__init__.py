"""Retrying a failed job with other arguments: a form with a field for each, and what it changes."""
