"""Learning a restoring network: data, degradations, losses, the loop."""
