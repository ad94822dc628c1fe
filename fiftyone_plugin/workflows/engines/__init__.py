"""Where the stages of a job run: in this process, or on a Ray cluster."""
