"""How many clicks a network needs, and what it costs: numbers, tables, pictures."""
