"""The engine: the only code that speaks Redis. Calls are values; two thin senders send them."""
