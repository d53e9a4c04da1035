"""Several trained packages as one: means and stacks that run in a graph, weights chosen on held-out
times, a second stage for offline use, and the scores of all of them side by side.
"""
