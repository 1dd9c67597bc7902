"""Events and listeners (djqueue.events)."""
