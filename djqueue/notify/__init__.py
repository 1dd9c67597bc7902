"""Those in ``DJQUEUE["NOTIFY"]`` hear of what is wrong: once when it begins, once when it is right
again. Children of workers look, or ``queue_monitor --notify``.
"""
