"""What several commands share: options, help, completions, and the steps from a command line to a run."""
