"""What everlog needs of the outside: the ledger, and the seams of clock and chance."""
