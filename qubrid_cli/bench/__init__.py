"""Compare models and settings on the same images: how fast they answer, what they cost, and how often they are right."""
