"""An order service and a shipping service, each with a log of its own, in step through a hub."""
