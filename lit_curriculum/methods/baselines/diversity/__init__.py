"""Choosing examples that differ from one another: rules, and the vectors by which examples are compared."""
