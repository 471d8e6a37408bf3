"""Difficulty metrics, the table that holds their scores, and the engine that computes them."""
