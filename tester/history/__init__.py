"""What happened, streamed to disk and read back."""
