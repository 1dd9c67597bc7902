"""A site with another theme of the admin: settings, addresses, and what fills it."""
