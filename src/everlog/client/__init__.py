"""The client: a hub far away, by HTTP. An edge's line to it, and a store that lives there."""
