"""What several commands need: options, help, completions, and what a command line says."""
