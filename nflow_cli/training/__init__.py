"""Training: the loop, what it is fed, what watches it, and how it goes on after a stop."""
