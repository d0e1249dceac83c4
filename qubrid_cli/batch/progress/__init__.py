"""How a run shows on stderr what it has done."""
