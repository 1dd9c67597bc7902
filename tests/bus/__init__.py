"""Dispatching, connections and controls."""
