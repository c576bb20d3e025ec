"""Two outputs against each other: which clips are in both, and in what these differ."""
