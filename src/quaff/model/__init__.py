"""Pure values: no I/O, no clock of the server, no Redis."""
