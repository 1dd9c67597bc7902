"""How many jobs ended and how, how long they took, and how long they waited. Each worker counts in
memory, and adds its counts to `djqueue_minutes` once a minute.
"""
