"""A database engine of the tests."""
