"""The queues: what they hold, who reads them, and what is wrong with them."""
