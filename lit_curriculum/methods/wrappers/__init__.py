"""Policies that hold another policy."""
