"""What outlives a process: accepted samples and model versions, as rows and files."""
