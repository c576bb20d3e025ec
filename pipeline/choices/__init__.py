"""The choices of a run that are no step's, by subject. Standard library only."""
