"""`swarmlite image`: one file a verb."""
