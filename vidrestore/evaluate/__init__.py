"""Measuring what was restored: pictures, films, models."""
