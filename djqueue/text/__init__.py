"""Text that people read or type: printable lines, masked secrets, log records, short ids. Not here:
anything that knows of jobs or stores.
"""
