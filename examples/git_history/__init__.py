"""The history of a git repository as an event log: everlog's main job, on real input."""
