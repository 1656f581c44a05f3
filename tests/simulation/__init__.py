"""Many ledgers, their hub and what befalls them, played by one thread: a seed replays exactly."""
