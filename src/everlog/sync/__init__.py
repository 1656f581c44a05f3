"""Sync: how two ledgers become one. What is decided is pure; the edge and the hub carry it out."""
