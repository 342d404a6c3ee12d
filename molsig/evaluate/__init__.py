"""Answers and labels to honest tables and figures: folds, metrics, leak meters, one page."""
