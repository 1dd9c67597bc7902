"""Jobs as users write them: classes, functions, `Inject`, and the registry of their names. Not
here: how they are queued (`djqueue.dispatch`) and run (`djqueue.runner`).
"""
