"""Similarity of examples to a small target set, in the eyes of the model: of gradients, or of hidden states."""
