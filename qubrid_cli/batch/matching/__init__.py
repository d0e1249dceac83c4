"""Which images of a run answer its question of yes or no as wanted, and how they are printed."""
