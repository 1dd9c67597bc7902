"""What the admin's lists are made of: filters, search, pages and words."""
