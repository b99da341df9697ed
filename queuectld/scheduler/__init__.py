"""Decides when jobs run, and carries out the requests of clients."""
