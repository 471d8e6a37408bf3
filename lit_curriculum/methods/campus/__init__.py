"""CAMPUS (Li et al. 2025, arXiv 2509.13790): several difficulty schedules, one choice a stage."""
