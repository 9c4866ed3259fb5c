"""Who owns what, and who says what to whom. Read `messages/` for the conversation."""
