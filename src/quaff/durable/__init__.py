"""What a job remembers from one attempt to the next: steps, sleeps, signals, iterations."""
