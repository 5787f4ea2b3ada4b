"""`swarmlite network`: one file a verb."""
