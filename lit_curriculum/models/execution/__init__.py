"""How batches are run through a causal language model."""
