"""Feedback from a product: what it shows to its users, and what they say to it, over REST."""
