"""From a prompt to a preference that can be trusted. Knows no model: no torch in this room."""
