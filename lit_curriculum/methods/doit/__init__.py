"""The DoIT ability-growth study, and policies that use growth."""
