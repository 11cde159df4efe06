"""Which network answers, when, and what it remembers."""
