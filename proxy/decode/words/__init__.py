"""The words of APIs, and what they usually mean in paths and in names of operations."""
