"""OpenGateway: a peer-to-peer network that answers prompts. Read `opengateway/app/node.py` first."""

__version__ = "0.1.0"
