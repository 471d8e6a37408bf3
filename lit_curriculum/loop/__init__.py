"""The curriculum loop: one Lightning epoch is one stage."""
