"""The protocol between client and daemon: vocabulary, wire format, messages.

The only package that both sides import. Sans-I/O.
"""
