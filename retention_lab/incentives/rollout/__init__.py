"""Markets and periods as arrays in; effects of a rollout that went market by market out."""
