"""Mutation testing by a command, `python -m tests.mutation`: a small change of the product, and a test should fail.

It is not part of the test run. docs/operations.md has its figures.
"""
