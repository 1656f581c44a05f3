"""Hand-written code with the bare driver: the same rows, the same promises, no framework."""
