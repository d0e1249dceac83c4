"""Many images: found, paced, asked, kept in a resumable results file."""
