"""What several plugins share: pure functions, and parts such as actors and distributions; one subject per module."""
