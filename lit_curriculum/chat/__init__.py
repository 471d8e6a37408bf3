"""Chat clients, their cache and their costs."""
