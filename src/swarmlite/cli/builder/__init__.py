"""`swarmlite builder VERB` and `swarmlite buildx VERB`."""
