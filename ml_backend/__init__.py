"""Label Studio's side: HTTP, regions, tokens, images, jobs."""
