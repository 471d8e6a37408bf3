"""Curriculum policies: what each stage trains on."""
