"""`swarmlite service`: one file a verb."""
