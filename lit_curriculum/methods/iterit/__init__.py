"""IterIT (Jia et al. 2024, arXiv 2412.17365): iterative selection by difficulty and novelty."""
