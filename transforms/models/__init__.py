"""Networks and their weights. They need torch, which is imported when a network is loaded."""
