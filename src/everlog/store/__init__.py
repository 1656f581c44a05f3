"""The store: the object that a program holds."""
