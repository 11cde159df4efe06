"""Label Studio's side: HTTP, regions, tokens, images, jobs."""

__version__ = "0.1.0"
