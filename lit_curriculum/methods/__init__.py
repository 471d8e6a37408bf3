"""The published systems, the baselines and the wrappers: one folder each."""
