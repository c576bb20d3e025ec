"""A run without an end: curate ``--watch``."""
