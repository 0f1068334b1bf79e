"""Pieces of work in; how long they take here, side by side with their peers, out."""
