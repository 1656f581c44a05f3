"""Interchange: events as text in files, for other ledgers, other programs and other libraries."""
