"""`swarmlite secret`: one file a verb."""
