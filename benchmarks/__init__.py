"""How fast everlog is: one file per question, every figure beside hand-written code in one run."""
