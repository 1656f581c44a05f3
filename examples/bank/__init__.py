"""A bank: accounts, transfers, a read model in SQL, and payments that leave once."""
