"""A small shop that shows what djqueue does. Start with ``make demo``, or read shop/jobs.py."""
