"""How fast everlog is, as ratios to hand-written code in the same run."""
