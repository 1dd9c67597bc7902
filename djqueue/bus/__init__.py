"""From a job to its store: dispatching, connections, controls."""
