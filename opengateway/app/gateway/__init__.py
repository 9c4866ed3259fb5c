"""The HTTP port: OpenAI's API for everyone's tools, /node/* for our own command line."""
