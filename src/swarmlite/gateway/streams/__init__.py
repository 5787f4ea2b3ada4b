"""What is not one request and one answer: connections that were taken over, frames, progress."""
