"""Simulated clicks: of training, and of an annotator who corrects a mask."""
