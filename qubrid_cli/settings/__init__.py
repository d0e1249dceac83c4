"""Which value counts and why: options, environment, profiles, config.toml, keys, presets."""
