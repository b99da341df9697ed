"""What tests of several layers share: a home of their own, waiting with a deadline, running the commands."""
