"""The control plane: the only writer of state, its API, the command line and the supervisor that starts it all."""
