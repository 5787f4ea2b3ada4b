"""`swarmlite volume`: one file a verb."""
