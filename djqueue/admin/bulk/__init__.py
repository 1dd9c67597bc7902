"""Everything that matches a list's filters: what a verb does to it, in steps of two seconds.

How far it has come is in the admin's log, in the one entry that the whole act has there: so it goes
on after the browser was closed, and needs no script.
"""
