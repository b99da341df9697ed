"""The contract between client and daemon: words, bytes and messages.

The only package that both sides import. It does no input or output.
"""
