"""What operators do on the screens: each verb with its permissions, its question and its words. Not
here: how it is carried out, which `djqueue.operations` does, and how it is asked and logged, which
`djqueue.admin.operator` does.
"""
