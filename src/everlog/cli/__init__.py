"""An operator's hands and eyes: the command `everlog`, made of the public API alone."""
