"""Networks: what exists (registry), where their files are (weights), and how they are run."""
