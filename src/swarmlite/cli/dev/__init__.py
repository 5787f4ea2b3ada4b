"""`swarmlite dev`: one file a verb."""
