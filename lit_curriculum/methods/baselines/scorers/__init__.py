"""Scores by prompts, proxies and encoders."""
