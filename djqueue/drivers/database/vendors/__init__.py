"""The SQL of each vendor, and what only one of them has. Not here: sessions, inspection and the
translation of errors, which are the same for all vendors.
"""
