"""What surrounds a run: opening, choosing, reporting; one module for each thing users ask for."""
