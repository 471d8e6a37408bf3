"""The baselines that the four systems are compared with."""
