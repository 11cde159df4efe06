"""Backend and worker under made-up annotators, to measure what these wait for."""
