"""The ability-growth study: which mixtures, what was measured, how curves are fitted, and what they allocate."""
