"""`swarmlite ui`: one file a verb."""
