"""The words that may stand at the cursor of a line that a shell completes."""
