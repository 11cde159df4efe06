"""The training loop and its parts: samples, losses, optimiser, states, validation."""
