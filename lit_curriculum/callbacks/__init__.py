"""Lightning callbacks: the curriculum loop, and what watches it."""
