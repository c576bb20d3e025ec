"""Outputs of any number of clips, painted without a video, and what the commands take for them."""
