"""Commands about learning: what a person does at a terminal instead of on the page."""
