"""The learning loop: messages, samples, jobs, and the worker that does it all."""
