"""The rules of the log: pure functions and values, without clock, thread, socket or event loop."""
