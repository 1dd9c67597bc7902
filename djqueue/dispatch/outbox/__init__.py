"""Jobs that wait in SQL until another store takes them."""
