"""The control socket: commands of the same user, on the same host."""
