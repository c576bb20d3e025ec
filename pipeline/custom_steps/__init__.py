"""Custom steps: found by name, given their options, checked, and put in place."""
