"""The ledger in memory: the whole contract, for tests and for programs that keep nothing."""
