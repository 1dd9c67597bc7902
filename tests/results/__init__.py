"""Results as web pages show them."""
