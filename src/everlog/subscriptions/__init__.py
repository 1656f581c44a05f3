"""Projectors: records are handed to handlers, in order per stream."""
