"""Where images and masks come from: one module for every layout, and what they share."""
