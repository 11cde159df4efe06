"""A task → its image: addresses, downloads, decoding, limits."""
