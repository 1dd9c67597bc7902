"""A worker's children: processes that run jobs, the channel to them, and what is left when one
ends. Who starts and ends them is the warden.
"""
