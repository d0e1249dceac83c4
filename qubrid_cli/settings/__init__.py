"""Where values come from, and which one wins: options, environment, profiles, config.toml; also keys and presets."""
