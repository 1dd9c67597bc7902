"""A project as `startproject` makes it, with djqueue and two jobs."""
