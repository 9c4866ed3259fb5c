"""Who owns what, and who says what to whom. Read `messages.py` for the conversation."""
