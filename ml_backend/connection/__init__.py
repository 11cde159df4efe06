"""Between Label Studio and this backend: what must be right, and what is checked."""
