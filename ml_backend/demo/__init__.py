"""A Label Studio with this backend already connected, on one machine, with one command."""
