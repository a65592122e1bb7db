"""The data plane: one process, one event loop, no locks. Knows nothing of comparison, rollouts or the store."""
