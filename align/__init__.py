"""From a snapshot of preferences to a better model."""
