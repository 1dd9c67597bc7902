"""Text that people read or type: printable lines, masked secrets, log records, short ids. Nothing
here knows of jobs or stores.
"""
