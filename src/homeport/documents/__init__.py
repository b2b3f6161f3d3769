"""Open notebooks: the registry, the room of each, its runner, saver, outputs and durable log."""
