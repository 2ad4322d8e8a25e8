"""One supervisor that runs no user code, and N processes that do."""
