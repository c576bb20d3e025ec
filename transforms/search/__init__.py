"""What ``finecut search`` does."""
