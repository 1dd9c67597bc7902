"""Jobs that wait in SQL until another store takes them. Not here: how drivers park jobs, and what
operators see of parked ones (`djqueue.drivers.parking`).
"""
