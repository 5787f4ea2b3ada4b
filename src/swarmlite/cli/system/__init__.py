"""`swarmlite system`: one file a verb."""
