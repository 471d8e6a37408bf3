"""Commands beside Lightning's own; each takes the factory of the configured run as its first argument."""
