"""The settings: where their values come from, and which one wins; keys and presets."""
