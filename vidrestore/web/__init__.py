"""The page in the browser: what `vidrestore web` serves, and the process that does its work."""
