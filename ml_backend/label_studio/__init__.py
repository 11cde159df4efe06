"""Label Studio's language and interface: requests, regions, masks, tokens."""
