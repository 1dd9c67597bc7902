"""What the admin's lists are made of: filters, search, pages and words. Not here: the columns and
actions of a list, which are in the modules of `djqueue.admin`.
"""
