"""Training against peers: contestants, memory, and a race against the clock."""
