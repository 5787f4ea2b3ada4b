"""`swarmlite swarm`: one file a verb."""
