"""The learned difficulty scorer: features, a small net, two objectives, and the metric that holds them together."""
