"""Instruction data: from records to batches of tokens, and the sampler that a curriculum drives."""
