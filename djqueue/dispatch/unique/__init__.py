"""Unique jobs at their dispatch. Not here: what a key is made of (`djqueue.jobs.definition`), and
where stores keep it.
"""
